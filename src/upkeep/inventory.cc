#include "upkeep/inventory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_set>

#include "base/fd.h"
#include "base/json.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cache/lease.h"
#include "sys/open.h"
#include "upkeep/disk_use.h"

namespace varve::upkeep {

namespace {

constexpr uint64_t kMaxManifest = 16 << 20;

using Kind = UsageRow::Kind;

std::optional<struct stat> StatOf(const std::string& path) {
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) return std::nullopt;
  return st;
}

Timestamp TimeOf(const timespec& time) { return {time.tv_sec * 1'000'000'000 + time.tv_nsec}; }

// The entries of a directory; none when it is not there.
Result<std::vector<std::string>> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  auto fd = sys::OpenDir(directory);
  if (!fd && fd.error().code == Code::kNotFound) return names;
  if (!fd) return std::move(fd).error();
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd->get()));
  for (const sys::DirEntry& entry : entries) names.push_back(entry.name);
  return names;
}

class Taker {
 public:
  Taker(const Stores& stores, const InventoryOptions& options)
      : stores_(stores), contents_(stores.local.contents()), options_(options) {}

  Result<Inventory> Run() {
    TRY(ReadLeases());
    TRY(FollowImages());
    TRY(Layers());
    TRY(Records());
    TRY(Blobs());
    TRY(Mounts());
    TRY(Contexts());
    TRY(Synced());
    TRY(Mirrors());
    TRY(OtherFiles());
    for (const UsageRow& row : out_.rows) out_.bytes += row.bytes;
    return std::move(out_);
  }

 private:
  Status ReadLeases() {
    TRY_ASSIGN(auto lock, cache::CollectionLock::Take(stores_.root, {}));
    TRY_ASSIGN(leases_, lock.Read());
    return Ok();
  }

  // --- Images
  // ----------------------------------------------------------------------------------------

  Status FollowImages() {
    TRY_ASSIGN(auto memos, contents_.Memos());
    for (const auto& memo : memos) {
      if (memo.kind == "image") {
        auto digest = Digest::Parse(memo.value);
        if (!digest) continue;
        out_.remembered_blobs.insert(*digest);
        Follow(*digest, "pulled from " + memo.key.substr(0, memo.key.find(' ')), false);
      } else if (memo.kind == "http") {
        auto json = Json::Parse(memo.value);
        auto digest = json ? Digest::Parse(json->GetString("digest")) : Result<Digest>(Error(json.error()));
        if (!digest) continue;
        out_.remembered_blobs.insert(*digest);
        descriptions_.try_emplace(*digest, "ADD " + memo.key);
        bodies_.insert(*digest);
      }
    }
    // Second: of a base image's layer it is more telling where it came from.
    TRY_ASSIGN(auto images, stores_.local.ListImages());
    for (const cache::StoredImage& image : images) {
      Follow(image.manifest, "image " + image.name, true);
    }
    return Ok();
  }

  // What a manifest, index or config names (image-spec manifest.md, image-index.md, config.md).
  void Follow(const Digest& blob, const std::string& description, bool named) {
    auto& seen = named ? named_ : pulled_;
    if (!seen.insert(blob).second) return;
    descriptions_.try_emplace(blob, description);
    auto size = stores_.blobs.Size(blob);
    if (!size || !*size || **size > kMaxManifest) return;
    auto text = stores_.blobs.Get(blob, kMaxManifest);
    auto json = text ? Json::Parse(*text) : Result<Json>(Error(text.error()));
    if (!json) return;
    auto follow = [&](const Json* descriptor) {
      auto digest = descriptor ? Digest::Parse(descriptor->GetString("digest")) : Result<Digest>(Error());
      if (digest) Follow(*digest, description, named);
    };
    for (const char* list : {"manifests", "layers"}) {
      for (const Json& item : json->GetArray(list)) follow(&item);
    }
    follow(json->Find("config"));
    follow(json->Find("subject"));
    const Json* rootfs = json->Find("rootfs");
    if (rootfs == nullptr) return;
    for (const std::string& layer : rootfs->GetStrings("diff_ids")) {
      auto diff_id = Digest::Parse(layer);
      if (!diff_id) continue;
      descriptions_.try_emplace(*diff_id, description);
      if (named) image_layers_.insert(*diff_id);
    }
  }

  // --- Layers and records
  // ----------------------------------------------------------------------------

  Status Layers() {
    TRY_ASSIGN(auto notes, contents_.Layers());
    std::unordered_map<Digest, const cache::LayerUse*> noted;
    for (const cache::LayerUse& use : notes) noted[use.layer.value] = &use;
    TRY_ASSIGN(auto names, NamesIn(stores_.root + "/layers"));
    std::vector<cache::MeasuredLayer> measured;
    for (const std::string& name : names) {
      auto digest = Digest::ParseHex(name);
      if (!digest) continue;
      auto it = noted.find(*digest);
      const cache::LayerUse* note = it == noted.end() ? nullptr : it->second;
      UsageRow row{.kind = Kind::kLayer, .type = UsageType::kRegular, .id = name};
      row.digest = *digest;
      row.path = stores_.root + "/layers/" + name;
      if (note != nullptr) {
        row.created = note->created;
        row.last_used = note->last_used;
        row.uses = note->uses;
      } else if (auto st = StatOf(row.path + "/size")) {
        row.created = row.last_used = TimeOf(st->st_mtim);
      }
      TRY_ASSIGN(std::optional<uint64_t> shared, SharedBytes(DiffId(*digest), row.path));
      DiskUse use;
      if (shared) {
        use = {.bytes = *shared, .has_parts = true};
      } else if (note != nullptr && note->disk_bytes && !note->has_parts && !options_.measure_all) {
        use.bytes = *note->disk_bytes;
      } else {
        TRY_ASSIGN(use, MeasureDisk(row.path));
      }
      row.bytes = use.bytes;
      if (note != nullptr && (note->disk_bytes != use.bytes || note->has_parts != use.has_parts)) {
        measured.push_back({DiffId(*digest), use.bytes, use.has_parts});
      }
      row.in_use = leases_.Holds(cache::LeaseKind::kLayer, *digest);
      row.shared = image_layers_.contains(*digest);
      auto description = descriptions_.find(*digest);
      if (description != descriptions_.end()) row.description = description->second;
      out_.layer_rows[*digest] = static_cast<uint32_t>(out_.rows.size());
      out_.rows.push_back(std::move(row));
    }
    return contents_.NoteDiskBytes(measured);
  }

  // Of a layer that has files for lazy ones, or is one (snapshot/lazy_layers.h): each of them counts the
  // same part of these files, so that the sum is what they take. Nothing: it has no part in any.
  Result<std::optional<uint64_t>> SharedBytes(const DiffId& layer, const std::string& path) {
    // One that is damaged is found by fsck; here it takes what lies there.
    auto rest = stores_.layers.RestOf(layer);
    if (!rest) return std::optional<uint64_t>();
    if (*rest) {
      TRY_ASSIGN(uint64_t mine, DiskBytes(path));
      TRY_ASSIGN(Shared shared, SharedOf(**rest));
      return std::optional(mine + shared.part());
    }
    TRY_ASSIGN(auto users, stores_.layers.UsersOf(layer));
    if (users.empty()) return std::optional<uint64_t>();
    TRY_ASSIGN(uint64_t mine, DiskBytes(path));
    TRY_ASSIGN(Shared shared, SharedOf(layer));
    return std::optional(mine - std::min(mine, shared.in_layer) + shared.part());
  }

  struct Shared {
    uint64_t in_layer = 0;  // of the layer's own directory
    uint64_t remains = 0;   // of what stayed of it when it was removed
    size_t parts = 0;
    uint64_t part() const { return (in_layer + remains) / std::max<size_t>(parts, 1); }
  };

  Result<Shared> SharedOf(const DiffId& rest) {
    auto known = shared_.find(rest.value);
    if (known != shared_.end()) return known->second;
    Shared shared;
    TRY_ASSIGN(auto users, stores_.layers.UsersOf(rest));
    TRY_ASSIGN(shared.in_layer, DiskBytes(stores_.root + "/layers/" + rest.Hex() + "/fs"));
    TRY_ASSIGN(shared.remains, DiskBytes(stores_.root + "/remains/" + rest.Hex()));
    shared.parts = users.size() + (shared.in_layer > 0 ? 1 : 0);
    remains_ += shared.remains;
    return shared_.emplace(rest.value, shared).first->second;
  }

  Status Records() {
    TRY_ASSIGN(auto uses, contents_.Records());
    for (cache::RecordUse& use : uses) {
      TRY_ASSIGN(auto record, contents_.Read(use.key));
      if (!record) continue;
      InventoryRecord item{.use = std::move(use), .name = record->name, .stacks = {}};
      for (const cache::Rootfs& output : record->outputs) Stack(output, *record, item);
      out_.records.push_back(std::move(item));
    }
    UsageRow row{.kind = Kind::kRecords, .id = "records"};
    row.description = fmt::format("{} step records", out_.records.size());
    TRY_ASSIGN(row.bytes, DiskBytes(stores_.root + "/records"));
    if (row.bytes > 0) out_.rows.push_back(std::move(row));
    return Ok();
  }

  void Stack(const cache::Rootfs& output, const cache::StepRecord& record, InventoryRecord& item) {
    std::vector<uint32_t> stack;
    for (const DiffId& layer : output.layers) {
      auto it = out_.layer_rows.find(layer.value);
      if (it != out_.layer_rows.end()) {
        stack.push_back(it->second);
      } else {
        item.complete = false;
      }
    }
    if (!stack.empty() && out_.rows[stack.back()].digest == output.layers.back().value) {
      UsageRow& top = out_.rows[stack.back()];
      // Steps that change nothing share a stack with the one before them.
      if (top.seconds == 0 || top.description.starts_with("pulled from ")) {
        top.description = record.name;
      }
      top.seconds += std::chrono::duration<double>(record.wall).count();
      if (top.parents.empty() && stack.size() > 1) {
        top.parents.push_back(out_.rows[stack[stack.size() - 2]].id);
      }
    }
    item.stacks.push_back(std::move(stack));
  }

  // --- Blobs
  // -----------------------------------------------------------------------------------------

  Status Blobs() {
    TRY_ASSIGN(auto of_layers, contents_.StoredLayerBlobs());
    std::unordered_map<Digest, DiffId> layer_of;
    for (const auto& [layer, blob] : of_layers) layer_of.emplace(blob, layer);
    uint64_t blob_bytes = 0;
    TRY(stores_.blobs.ForEachStat([&](const cas::BlobStat& stat) {
      UsageRow row{.kind = Kind::kBlob, .type = UsageType::kRegular, .id = stat.digest.Hex()};
      row.digest = stat.digest;
      row.bytes = stat.disk_bytes;
      row.created = row.last_used = stat.made;
      row.in_use = leases_.Holds(cache::LeaseKind::kBlob, stat.digest);
      row.shared = named_.contains(stat.digest);
      auto description = descriptions_.find(stat.digest);
      if (description != descriptions_.end()) row.description = description->second;
      if (auto layer = layer_of.find(stat.digest); layer != layer_of.end()) {
        if (row.description.empty()) row.description = "packed layer";
        row.parents.push_back(layer->second.Hex());
        auto unpacked = out_.layer_rows.find(layer->second.value);
        if (unpacked != out_.layer_rows.end()) row.last_used = out_.rows[unpacked->second].last_used;
      } else if (!bodies_.contains(stat.digest)) {
        row.type = UsageType::kInternal;  // a manifest or config, or nothing refers to it
      }
      blob_bytes += stat.disk_bytes;
      out_.rows.push_back(std::move(row));
      return Ok();
    }));
    // The directories that they lie in.
    TRY_ASSIGN(uint64_t all, DiskBytes(stores_.root + "/blobs"));
    if (all > blob_bytes) AddFiles("blobs", "directories of the blob store", all - blob_bytes);
    return Ok();
  }

  // --- The rest
  // --------------------------------------------------------------------------------------

  Status Mounts() {
    cache::CacheMounts mounts(stores_.root, stores_.clock);
    TRY_ASSIGN(auto entries, mounts.List());
    uint64_t listed = 0;
    for (const cache::CacheMounts::Entry& entry : entries) {
      UsageRow row{.kind = Kind::kMount, .type = UsageType::kCacheMount};
      row.path = entry.directory;
      row.id = entry.directory.substr(entry.directory.rfind('/') + 1);
      row.description = "cache mount " + entry.id;
      row.created = entry.created;
      row.last_used = entry.last_used;
      row.in_use = entry.busy;
      row.is_mutable = true;
      TRY_ASSIGN(row.bytes, DiskBytes(entry.directory));
      listed += row.bytes;
      out_.rows.push_back(std::move(row));
    }
    TRY_ASSIGN(uint64_t all, DiskBytes(stores_.root + "/mounts"));
    if (all > listed) AddFiles("mounts", "directory of the cache mounts", all - listed);
    return Ok();
  }

  Status Contexts() {
    TRY_ASSIGN(auto names, NamesIn(stores_.root + "/contexts"));
    for (const std::string& name : names) {
      UsageRow row{.kind = Kind::kContext, .type = UsageType::kLocalSource, .id = name};
      row.path = stores_.root + "/contexts/" + name;
      row.description = "what the files of a build context held";
      row.is_mutable = true;
      TRY(Measure(row));
      out_.rows.push_back(std::move(row));
    }
    return AddDirectoryItself("contexts");
  }

  // Each is used under its lock, which lies beside it (session/contexts.h).
  Status Synced() {
    const std::string top = stores_.root + "/synced";
    TRY_ASSIGN(auto keys, NamesIn(top));
    if (keys.empty() && !StatOf(top)) return Ok();
    uint64_t listed = 0;
    for (const std::string& key : keys) {
      TRY_ASSIGN(auto names, NamesIn(top + "/" + key));
      for (const std::string& name : names) {
        if (name.ends_with(".lock")) continue;
        UsageRow row{.kind = Kind::kSynced, .type = UsageType::kLocalSource, .id = key + "/" + name};
        row.path = top + "/" + row.id;
        row.description = "files of a client's directory";
        row.is_mutable = true;
        TRY(Measure(row));
        if (auto st = StatOf(row.path + ".lock")) row.last_used = std::max(*row.last_used, TimeOf(st->st_mtim));
        auto lock = sys::FlockGuard::TryLock(row.path + ".lock", sys::LockMode::kExclusive);
        row.in_use = lock && !*lock;
        listed += row.bytes;
        out_.rows.push_back(std::move(row));
      }
    }
    TRY_ASSIGN(uint64_t all, DiskBytes(top));
    if (all > listed) AddFiles("synced", "directories of clients' files", all - listed);
    return Ok();
  }

  Status Mirrors() {
    TRY_ASSIGN(auto names, NamesIn(stores_.root + "/git"));
    for (const std::string& name : names) {
      if (name.ends_with(".lock")) continue;
      UsageRow row{.kind = Kind::kMirror, .type = UsageType::kGitCheckout, .id = name};
      row.path = stores_.root + "/git/" + name;
      row.description = "mirror of a git remote";
      row.is_mutable = true;
      TRY(Measure(row));
      auto lock = sys::FlockGuard::TryLock(row.path + ".lock", sys::LockMode::kExclusive);
      row.in_use = lock && !*lock;
      // Fetching writes FETCH_HEAD, which the directory's own time does not show.
      if (auto st = StatOf(row.path + "/FETCH_HEAD")) {
        row.last_used = std::max(*row.last_used, TimeOf(st->st_mtim));
      }
      out_.rows.push_back(std::move(row));
    }
    return AddDirectoryItself("git");
  }

  Status Measure(UsageRow& row) {
    auto st = StatOf(row.path);
    if (st) row.created = row.last_used = TimeOf(st->st_mtim);
    if (!st) row.created = row.last_used = Timestamp{0};
    TRY_ASSIGN(row.bytes, DiskBytes(row.path));
    return Ok();
  }

  // What of the root has no row yet. Files that come and go while we look are not missed.
  Status OtherFiles() {
    static constexpr std::array<std::string_view, 7> kDone = {"records", "blobs",  "mounts", "contexts",
                                                              "git",     "layers", "synced"};
    TRY(AddDirectoryItself("layers"));
    TRY_ASSIGN(auto names, NamesIn(stores_.root));
    uint64_t index = 0, trees = 0, small = 0;
    for (const std::string& name : names) {
      if (std::ranges::find(kDone, name) != kDone.end()) continue;
      std::string path = stores_.root + "/" + name;
      TRY_ASSIGN(uint64_t bytes, DiskBytes(path));
      if (name == "remains") bytes -= std::min(bytes, remains_);  // counted with the layers
      auto st = StatOf(path);
      if (name.starts_with("index.db")) {
        index += bytes;
      } else if (name.starts_with("trees.db")) {
        trees += bytes;
      } else if (st && S_ISDIR(st->st_mode)) {
        AddFiles(name, DirectoryDescription(name), bytes);
      } else {
        small += bytes;
      }
    }
    AddFiles("index.db", "index of records, layers and images", index);
    AddFiles("trees.db", "file trees, to compare contents by", trees);
    auto top = StatOf(stores_.root);
    AddFiles(".", "the root itself and its small files",
             small + (top ? static_cast<uint64_t>(top->st_blocks) * 512 : 0));
    return Ok();
  }

  static std::string DirectoryDescription(std::string_view name) {
    if (name == "staging") return "what is being written";
    if (name == "tmp") return "scratch files of running builds";
    if (name == "jobs") return "leases of running builds";
    if (name == "locks") return "locks of running steps";
    if (name == "images") return "image names";
    if (name == "history") return "build history";
    if (name == "remains") return "directory of what other layers need of removed ones";
    return "files in " + std::string(name);
  }

  Status AddDirectoryItself(const std::string& name) {
    auto st = StatOf(stores_.root + "/" + name);
    uint64_t bytes = st ? static_cast<uint64_t>(st->st_blocks) * 512 : 0;
    if (name == "git") {
      TRY_ASSIGN(auto names, NamesIn(stores_.root + "/git"));
      for (const std::string& lock : names) {
        if (!lock.ends_with(".lock")) continue;
        if (auto file = StatOf(stores_.root + "/git/" + lock)) {
          bytes += static_cast<uint64_t>(file->st_blocks) * 512;
        }
      }
    }
    if (bytes > 0) AddFiles(name, "directory", bytes);
    return Ok();
  }

  void AddFiles(const std::string& id, const std::string& description, uint64_t bytes) {
    UsageRow row{.kind = Kind::kFiles, .id = id, .description = description, .parents = {}, .bytes = bytes};
    out_.rows.push_back(std::move(row));
  }

  const Stores& stores_;
  cache::StoreContents& contents_;
  const InventoryOptions options_;
  cache::LiveLeases leases_;
  std::unordered_set<Digest> named_, pulled_, bodies_, image_layers_;
  std::unordered_map<Digest, std::string> descriptions_;
  std::unordered_map<Digest, Shared> shared_;
  uint64_t remains_ = 0;
  Inventory out_;
};

}  // namespace

std::string_view NameOf(UsageType type) {
  switch (type) {
    case UsageType::kRegular:
      return "regular";
    case UsageType::kCacheMount:
      return "exec.cachemount";
    case UsageType::kLocalSource:
      return "source.local";
    case UsageType::kGitCheckout:
      return "source.git.checkout";
    case UsageType::kInternal:
      return "internal";
  }
  return "";
}

bool IsReclaimable(const UsageRow& row) { return !row.in_use && !row.shared && row.kind != Kind::kFiles; }

Result<Inventory> TakeInventory(const Stores& stores, const InventoryOptions& options) {
  METRIC("upkeep.inventory");
  return Taker(stores, options).Run();
}

}  // namespace varve::upkeep
