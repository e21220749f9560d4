#include "upkeep/prune.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cache/collect.h"
#include "cache/lease.h"
#include "cache/retention.h"
#include "sys/flock.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace varve::upkeep {

namespace {

using Kind = UsageRow::Kind;

constexpr const char* kMemo = "upkeep";
constexpr const char* kOtherBytes = "bytes besides layers and blobs";
constexpr Nanos kOtherBytesKept = std::chrono::hours(24);
constexpr Nanos kRecordsWithoutLayers = std::chrono::hours(24 * 90);
constexpr std::string_view kRecordRule = "its layers are gone and it was not used for 90 days";

bool IsCandidate(const UsageRow& row, const Policy& policy, Timestamp now) {
  if (!IsReclaimable(row) || row.kind == Kind::kRecords) return false;
  // Manifests and configs are a few kilobytes and spare a build its network: a limit is met
  // without.
  if (row.type == UsageType::kInternal && (!policy.all || policy.limits.any())) return false;
  bool recent = row.last_used && now.nanos - row.last_used->nanos < policy.keep_duration.count();
  return !recent && policy.filter.Matches(row);
}

// All rows take part, those that may not go as held ones: a layer below such a one stays as well.
cache::RetentionInput Weigh(const Inventory& inventory, const Policy& policy, Timestamp now) {
  cache::RetentionInput input;
  input.now = now;
  for (const UsageRow& row : inventory.rows) {
    input.layers.push_back({.bytes = row.bytes,
                            .created = row.created.value_or(Timestamp{0}),
                            .last_used = row.last_used.value_or(Timestamp{0}),
                            .uses = row.uses,
                            .held = !IsCandidate(row, policy, now)});
  }
  std::map<std::string, uint32_t> slots;
  for (const InventoryRecord& record : inventory.records) {
    // What a lost layer made useless is worth nothing; the layers by themselves remain.
    if (!record.complete) continue;
    auto next = static_cast<uint32_t>(slots.size());
    uint32_t slot = slots.try_emplace(record.use.slot, next).first->second;
    double seconds = std::chrono::duration<double>(record.use.wall).count();
    for (const auto& stack : record.stacks) input.results.push_back({stack, slot, seconds});
  }
  return input;
}

// A LayerStore as collection sees it, with the sizes of the inventory.
class ListedLayers final : public cache::LayerData {
 public:
  ListedLayers(const Inventory& inventory, snapshot::LayerStore& layers) : inventory_(inventory), layers_(layers) {}

  Result<std::vector<Entry>> List() override {
    std::vector<Entry> out;
    for (const UsageRow& row : inventory_.rows) {
      if (row.kind != Kind::kLayer) continue;
      struct stat st;
      if (stat((row.path + "/size").c_str(), &st) != 0) continue;
      out.push_back({.layer = DiffId(row.digest),
                     .disk_bytes = row.bytes,
                     .made = {st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec}});
    }
    return out;
  }
  Status Remove(const DiffId& layer) override { return layers_.Remove(layer); }

 private:
  const Inventory& inventory_;
  snapshot::LayerStore& layers_;
};

class Pruning {
 public:
  Pruning(const Stores& stores, const Inventory& inventory, std::string rule, std::stop_token stop)
      : stores_(stores), inventory_(inventory), rule_(std::move(rule)), stop_(std::move(stop)) {
    for (uint32_t i = 0; i < inventory.rows.size(); ++i) {
      const UsageRow& row = inventory.rows[i];
      if (row.kind == Kind::kLayer || row.kind == Kind::kBlob) by_digest_[row.digest] = i;
    }
  }

  // `sweep`: what nothing refers to goes as well.
  Result<Pruned> Run(const PrunePlan& plan, bool sweep) {
    std::vector<uint32_t> stored;
    for (uint32_t i : plan.rows) {
      Kind kind = inventory_.rows[i].kind;
      if (kind == Kind::kLayer || kind == Kind::kBlob) {
        stored.push_back(i);
      } else {
        TRY(RemoveFiles(i));
      }
    }
    TRY(CollectStored(stored, plan.records, sweep));
    TRY(stores_.layers.RemoveUnused());
    return std::move(result_);
  }

 private:
  void Gone(uint32_t i, std::string rule) {
    result_.rows.push_back(inventory_.rows[i]);
    result_.rules.push_back(std::move(rule));
    result_.bytes += inventory_.rows[i].bytes;
  }

  Status RemoveFiles(uint32_t i) {
    const UsageRow& row = inventory_.rows[i];
    if (stop_.stop_requested()) return Cancelled("pruning was cancelled");
    if (row.kind == Kind::kMount) {
      cache::CacheMounts mounts(stores_.root, stores_.clock);
      TRY_ASSIGN(bool removed,
                 mounts.Remove({.key = {}, .id = {}, .directory = row.path, .created = {}, .last_used = {}}));
      if (!removed) {
        ++result_.spared;
        return Ok();
      }
    } else if (row.kind == Kind::kMirror || row.kind == Kind::kSynced) {
      TRY_ASSIGN(auto lock, sys::FlockGuard::TryLock(row.path + ".lock", sys::LockMode::kExclusive));
      if (!lock) {
        ++result_.spared;
        return Ok();
      }
      TRY(sys::RemoveAll(row.path));
    } else if (unlink(row.path.c_str()) != 0 && errno != ENOENT) {
      return ErrnoError(errno, "remove " + row.path);
    }
    LOG_INFO("collected {} {}: {}", NameOf(row.type), row.id, rule_);
    Gone(i, rule_);
    return Ok();
  }

  Status CollectStored(const std::vector<uint32_t>& stored, bool records, bool sweep) {
    cache::CollectionPolicy policy;
    policy.sweep = sweep || records;
    std::set<Digest> layers, blobs;
    for (uint32_t i : stored) {
      const UsageRow& row = inventory_.rows[i];
      (row.kind == Kind::kLayer ? layers : blobs).insert(row.digest);
    }
    for (const Digest& blob : inventory_.remembered_blobs) {
      if (!blobs.contains(blob)) policy.keep_blobs.insert(blob);
    }
    policy.drop_layer = [&](const cache::LayerData::Entry& entry) -> std::optional<std::string> {
      if (!layers.contains(entry.layer.value)) return std::nullopt;
      return rule_;
    };
    policy.drop_blob = [&](const cas::BlobStat& stat) -> std::optional<std::string> {
      if (!blobs.contains(stat.digest)) return std::nullopt;
      return rule_;
    };
    std::set<StepKey> useless;
    int64_t now = stores_.clock.Now().nanos;
    for (const InventoryRecord& record : inventory_.records) {
      bool unused = now - record.use.last_used.nanos > kRecordsWithoutLayers.count();
      if (!record.complete && unused) useless.insert(record.use.key);
    }
    policy.drop_record = [&](const cache::RecordUse& use) -> std::optional<std::string> {
      if (records) return rule_;
      if (policy.sweep && useless.contains(use.key)) return std::string(kRecordRule);
      return std::nullopt;
    };
    if (records) {
      policy.drop_chain = [&](const ChainId&) { return std::optional(rule_); };
    }
    if (stored.empty() && !policy.sweep) return Ok();
    ListedLayers data(inventory_, stores_.layers);
    auto collected = cache::Collect(stores_.root, stores_.local, stores_.blobs, data, policy, stores_.clock, stop_);
    if (!collected) return std::move(collected).error();
    result_.spared += collected->spared;
    std::set<Digest> lost;
    for (const cache::Removal& removal : collected->removed) {
      auto row = by_digest_.find(removal.digest);
      bool listed = removal.kind == cache::Removal::Kind::kLayer || removal.kind == cache::Removal::Kind::kBlob;
      if (listed && row != by_digest_.end()) {
        Gone(row->second, removal.rule);
      } else {
        result_.bytes += removal.bytes;
      }
      if (removal.kind == cache::Removal::Kind::kRecord) ++result_.records;
      if (removal.kind == cache::Removal::Kind::kLayer) lost.insert(removal.digest);
    }
    return NoteEvictions(lost);
  }

  // Records that stay, and say from now on why they have no layers.
  Status NoteEvictions(const std::set<Digest>& lost) {
    if (lost.empty()) return Ok();
    std::set<uint32_t> rows;
    for (const Digest& digest : lost) {
      auto it = inventory_.layer_rows.find(digest);
      if (it != inventory_.layer_rows.end()) rows.insert(it->second);
    }
    std::vector<StepKey> keys;
    for (const InventoryRecord& record : inventory_.records) {
      bool hit = std::ranges::any_of(record.stacks, [&](const auto& stack) {
        return std::ranges::any_of(stack, [&](uint32_t row) { return rows.contains(row); });
      });
      if (hit) keys.push_back(record.use.key);
    }
    return stores_.local.contents().NoteEvicted(keys, rule_);
  }

  const Stores& stores_;
  const Inventory& inventory_;
  const std::string rule_;
  const std::stop_token stop_;
  std::unordered_map<Digest, uint32_t> by_digest_;
  Pruned result_;
};

void Append(Pruned& to, Pruned from) {
  std::ranges::move(from.rows, std::back_inserter(to.rows));
  std::ranges::move(from.rules, std::back_inserter(to.rules));
  to.bytes += from.bytes;
  to.records += from.records;
  to.spared += from.spared;
}

uint64_t Unshared(const Inventory& inventory) {
  uint64_t bytes = 0;
  for (const UsageRow& row : inventory.rows) bytes += row.shared ? 0 : row.bytes;
  return bytes;
}

// What the root holds besides layers and blobs: cache mounts above all. Walked once a day.
Result<uint64_t> OtherBytes(const Stores& stores) {
  TRY_ASSIGN(auto memo, stores.local.GetMemo(kMemo, kOtherBytes));
  Timestamp now = stores.clock.Now();
  bool fresh = memo && now.nanos - memo->time.nanos < kOtherBytesKept.count();
  if (auto known = fresh ? ParseInt(memo->value) : std::nullopt) return static_cast<uint64_t>(*known);
  TRY_ASSIGN(Fd root, sys::OpenDir(stores.root));
  TRY_ASSIGN(auto entries, sys::ListDirectory(root.get()));
  uint64_t bytes = 0;
  for (const sys::DirEntry& entry : entries) {
    if (entry.name == "layers" || entry.name == "blobs") continue;
    TRY_ASSIGN(uint64_t part, DiskBytes(stores.root + "/" + entry.name));
    bytes += part;
  }
  TRY(stores.local.PutMemo(kMemo, kOtherBytes, {std::to_string(bytes), now}));
  return bytes;
}

// A collection spares trees of the last day, because a running build relies on finding them. Under
// the collection lock, with no build running, none can begin.
Status DropTrees(const Stores& stores) {
  cache::StoreContents& contents = stores.local.contents();
  TRY_ASSIGN(auto lock, cache::CollectionLock::Take(stores.root, {}));
  TRY_ASSIGN(cache::LiveLeases leases, lock.Read());
  if (leases.jobs > 0) return Ok();
  Timestamp end{INT64_MAX};
  TRY_ASSIGN(auto trees, contents.TreesPutBefore(end));
  std::vector<Digest> digests;
  for (const auto& [digest, bytes] : trees) digests.push_back(digest);
  TRY(contents.RemoveTrees(digests, end));
  if (Status compact = contents.Compact(); !compact) LOG_INFO("{}", compact.error().message);
  return Ok();
}

Status LogPruned(const Stores& stores, const Pruned& pruned) {
  if (pruned.rows.empty()) return Ok();
  constexpr off_t kMost = 4 << 20;
  std::string path = stores.root + "/collections.log";
  struct stat st;
  if (stat(path.c_str(), &st) == 0 && st.st_size > kMost) {
    if (rename(path.c_str(), (path + ".1").c_str()) != 0) return ErrnoError(errno, path);
  }
  std::string time = FormatTime(stores.clock.Now()), lines;
  for (size_t i = 0; i < pruned.rows.size(); ++i) {
    const UsageRow& row = pruned.rows[i];
    Json line;
    line.Set("time", time).Set("rule", pruned.rules[i]).Set("type", NameOf(row.type));
    line.Set("id", row.id).Set("description", row.description).Set("bytes", row.bytes);
    lines += line.Dump() + "\n";
  }
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_APPEND, 0600));
  return FdWriter(fd.get()).Write(lines);
}

}  // namespace

PrunePlan PlanPrune(const Inventory& inventory, const Policy& policy, uint64_t free, Timestamp now) {
  PrunePlan plan;
  uint64_t used = Unshared(inventory);
  auto keep = BytesToKeep(policy.limits, used, free);
  if (!keep) {
    for (uint32_t i = 0; i < inventory.rows.size(); ++i) {
      if (IsCandidate(inventory.rows[i], policy, now)) plan.rows.push_back(i);
    }
    bool records_match = policy.filter.Matches(UsageRow{.kind = Kind::kRecords, .id = "records"});
    plan.records = policy.all && records_match && policy.keep_duration.count() == 0;
    return plan;
  }
  if (used <= *keep) return plan;
  for (const cache::Eviction& block : cache::EvictionOrder(Weigh(inventory, policy, now))) {
    if (used <= *keep) break;
    for (uint32_t row : block.layers) plan.rows.push_back(row);
    used -= std::min(used, block.bytes);
  }
  return plan;
}

namespace {

Result<Pruned> PruneOf(const Stores& stores, const Inventory& inventory, const Policy& policy, std::stop_token stop) {
  TRY_ASSIGN(DiskSpace space, SpaceOf(stores.root));
  PrunePlan plan = PlanPrune(inventory, policy, space.free, stores.clock.Now());
  bool everything = !policy.limits.any() && policy.filter.empty() && policy.keep_duration.count() == 0;
  TRY_ASSIGN(Pruned pruned, Pruning(stores, inventory, policy.name, std::move(stop)).Run(plan, everything));
  TRY(LogPruned(stores, pruned));
  return pruned;
}

// Of a layer that nobody has measured: what a lazy one has of its own, else its tar's size.
Result<uint64_t> EstimateBytes(const Stores& stores, const cache::LayerUse& layer) {
  if (layer.disk_bytes) return *layer.disk_bytes;
  const std::string path = stores.root + "/layers/" + layer.layer.Hex();
  if (access(path.c_str(), F_OK) != 0) return uint64_t{0};  // its record came from a tier, or it is gone
  auto rest = stores.layers.RestOf(layer.layer);
  return rest && *rest ? DiskBytes(path) : layer.tar_size;
}

}  // namespace

Result<Pruned> Prune(const Stores& stores, const Policy& policy, std::stop_token stop) {
  METRIC("upkeep.prune");
  TRY_ASSIGN(Inventory inventory, TakeInventory(stores, {.measure_all = false}));
  return PruneOf(stores, inventory, policy, std::move(stop));
}

Result<Pruned> CollectByPolicy(const Stores& stores, const PolicyFile& file, std::stop_token stop) {
  Pruned all;
  if (!file.enabled) return all;
  METRIC("upkeep.collect");
  std::optional<Inventory> inventory;  // since something was removed
  for (const Policy& policy : file.policies) {
    if (!inventory) {
      TRY_ASSIGN(inventory, TakeInventory(stores, {.measure_all = false}));
    }
    TRY_ASSIGN(Pruned pruned, PruneOf(stores, *inventory, policy, stop));
    if (pruned.bytes > 0 || !pruned.rows.empty() || pruned.records > 0) inventory.reset();
    Append(all, std::move(pruned));
  }
  return all;
}

Result<bool> MayNeedCollection(const Stores& stores, const PolicyFile& file) {
  if (!file.enabled) return false;
  TRY_ASSIGN(DiskSpace space, SpaceOf(stores.root));
  uint64_t used = 0;
  TRY_ASSIGN(auto layers, stores.local.contents().Layers());
  for (const cache::LayerUse& layer : layers) {
    TRY_ASSIGN(uint64_t bytes, EstimateBytes(stores, layer));
    used += bytes;
  }
  TRY(stores.blobs.ForEachStat([&](const cas::BlobStat& stat) {
    used += stat.disk_bytes;
    return Ok();
  }));
  TRY_ASSIGN(uint64_t other, OtherBytes(stores));
  used += other;
  for (const Policy& policy : file.policies) {
    auto keep = BytesToKeep(policy.limits, used, space.free);
    if (!keep || used > *keep) return true;
  }
  return false;
}

Result<Pruned> Clear(const Stores& stores, const ClearOptions& options, std::stop_token stop) {
  METRIC("upkeep.clear");
  if (options.images) {
    TRY_ASSIGN(auto images, stores.local.ListImages());
    for (const cache::StoredImage& image : images) TRY(stores.local.RemoveImage(image.name));
  }
  // What a tag or an url led to the last time; the blobs go with the rest.
  TRY(stores.local.contents().ForgetMemos());
  Policy policy{.name = "varve clear", .all = true, .filter = {}, .limits = {}};
  TRY_ASSIGN(Pruned pruned, Prune(stores, policy, std::move(stop)));
  TRY(DropTrees(stores));
  return pruned;
}

}  // namespace varve::upkeep
