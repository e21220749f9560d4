#include "tier/packed_tier.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "base/guarded.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "tier/chunked.h"
#include "tier/group.h"
#include "tier/shrink.h"
#include "tier/wire.h"

namespace varve::tier {

namespace {

constexpr size_t kParallel = 8;

// What the groups say together.
struct Contents {
  std::vector<GroupEntry> entries;  // of the groups that could be read
  std::vector<Group> groups;        // as `entries`
  std::vector<Digest> damaged;      // manifests of the others: the next export takes them away
  std::map<StepKey, const cache::StepRecord*> records;  // the newest of each key
  std::map<DiffId, const StoredLayer*> layers;
  std::map<Digest, const TreePack*> trees;  // by root
  std::map<std::string, const StoredMount*> mounts;  // the newest of each key

  std::map<StepKey, std::string> refused;  // of which there are only records that are not trusted: why

  // `trusted`: whose word counts; null: everybody's.
  void Index(const VerifyKeys* trusted) {
    records.clear(), layers.clear(), trees.clear(), mounts.clear(), refused.clear();
    auto signed_by = [&](const Group& group, const auto& item) {
      return trusted == nullptr || trusted->Signed(group.signatures, StatementOf(item));
    };
    for (const Group& group : groups) {
      for (const cache::StepRecord& record : group.records) {
        if (!signed_by(group, record)) {
          refused[record.key] = trusted->WhyNot(group.signatures, StatementOf(record));
          continue;
        }
        const cache::StepRecord*& known = records[record.key];
        if (known == nullptr || record.created > known->created) known = &record;
      }
      for (const StoredLayer& layer : group.layers) {
        if (signed_by(group, layer)) layers.insert_or_assign(layer.layer, &layer);
      }
      for (const TreePack& pack : group.trees) {
        for (const Digest& root : pack.roots) trees[root] = &pack;
      }
      for (const StoredMount& mount : group.mounts) {
        if (!signed_by(group, mount)) continue;
        const StoredMount*& known = mounts[mount.key];
        if (known == nullptr || mount.created >= known->created) known = &mount;
      }
    }
    for (const auto& [key, record] : records) refused.erase(key);
  }

  // Whether the layer is had from this blob: it is trusted, and the latest.
  bool Takes(const StoredLayer& layer) const {
    auto it = layers.find(layer.layer);
    return it != layers.end() && it->second == &layer;
  }

  // What is stored as chunks and is named by its tar's digest.
  const StoredLayer* Chunked(const Digest& tar) const {
    auto layer = layers.find(DiffId(tar));
    if (layer != layers.end() && layer->second->chunked()) return layer->second;
    for (const auto& [key, mount] : mounts) {
      if (mount->tar.layer.value == tar) return &mount->tar;
    }
    return nullptr;
  }

  // The steps that made the layer.
  std::set<std::string> SlotsOf(const DiffId& layer) const {
    std::set<std::string> slots;
    for (const auto& [key, record] : records) {
      for (const cache::Rootfs& output : record->outputs) {
        if (!output.layers.empty() && output.layers.back() == layer) slots.insert(record->slot);
      }
    }
    return slots;
  }
};

class PackedTier final : public Tier {
 public:
  PackedTier(std::unique_ptr<BlobStorage> storage, PackedOptions options, Clock& clock)
      : storage_(std::move(storage)), options_(std::move(options)), clock_(clock) {}

  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys,
                                                                tree::TreeStore& trees,
                                                                std::stop_token stop) override {
    METRIC("tier.look_up");
    TRY_ASSIGN(auto contents, Loaded(stop));
    std::vector<std::optional<cache::StepRecord>> found(keys.size());
    std::set<const TreePack*> needed;
    for (size_t i = 0; i < keys.size(); ++i) {
      auto it = contents->records.find(keys[i]);
      if (it == contents->records.end()) {
        if (contents->refused.contains(keys[i])) refused_.Lock()->insert(keys[i]);
        continue;
      }
      found[i] = *it->second;
      ++hits_;
      for (const cache::Rootfs& output : found[i]->outputs) {
        auto pack = contents->trees.find(output.tree_root);
        if (pack == contents->trees.end()) continue;
        TRY_ASSIGN(auto here, trees.Get(output.tree_root));
        if (!here) needed.insert(pack->second);
      }
    }
    // A pack that is gone leaves a hit whose tree cannot be read: the step runs (invariant I4).
    std::vector<const TreePack*> packs(needed.begin(), needed.end());
    TRY(ParallelFor(packs.size(), kParallel, [&](size_t i) -> Status {
      Status fetched = FetchTrees(*packs[i], trees, stop);
      if (fetched || fetched.error().code == Code::kCancelled ||
          fetched.error().code == Code::kUnavailable) {
        return fetched;
      }
      Note(fmt::format("trees of a record: {}", fetched.error().message));
      return Ok();
    }));
    return found;
  }

  std::vector<cache::StepRecord> Earlier(const std::string& slot, const Digest& op_digest,
                                         size_t limit) override {
    Shared contents = *loaded_.Lock();
    std::vector<const cache::StepRecord*> found;
    if (contents) {
      for (const auto& [key, record] : contents->records) {
        if (record->slot == slot || record->op_digest == op_digest) found.push_back(record);
      }
    }
    std::ranges::sort(found, [&](const cache::StepRecord* a, const cache::StepRecord* b) {
      if ((a->slot == slot) != (b->slot == slot)) return a->slot == slot;
      return a->created > b->created;
    });
    std::vector<cache::StepRecord> earlier;
    for (size_t i = 0; i < std::min(limit, found.size()); ++i) earlier.push_back(*found[i]);
    return earlier;
  }

  std::optional<std::string> WhyRefused(const StepKey& key) override {
    Shared contents = *loaded_.Lock();
    if (!contents) return std::nullopt;
    auto it = contents->refused.find(key);
    return it == contents->refused.end() ? std::nullopt : std::optional(it->second);
  }

  Result<std::optional<oci::Descriptor>> FindLayer(const DiffId& layer, std::stop_token stop) override {
    TRY_ASSIGN(auto contents, Loaded(stop));
    auto it = contents->layers.find(layer);
    if (it == contents->layers.end()) return std::nullopt;
    return std::optional(AsBlob(*it->second));
  }

  Result<std::optional<oci::Descriptor>> FindMount(const std::string& key, std::stop_token stop) override {
    TRY_ASSIGN(auto contents, Loaded(stop));
    auto it = contents->mounts.find(key);
    if (it == contents->mounts.end()) return std::nullopt;
    return std::optional(AsBlob(it->second->tar));
  }

  Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override {
    Shared contents = *loaded_.Lock();
    const StoredLayer* chunked = contents && blob.media_type == oci::kOciLayer
                                     ? contents->Chunked(blob.digest) : nullptr;
    if (chunked != nullptr) {
      std::vector<DiffId> similar;
      for (const std::string& slot : contents->SlotsOf(chunked->layer)) {
        if (!options_.local.earlier) break;
        for (const DiffId& layer : options_.local.earlier(slot, stop)) {
          bool known = layer == chunked->layer || std::ranges::find(similar, layer) != similar.end();
          if (!known) similar.push_back(layer);
        }
      }
      TRY(FetchChunked(*chunked, similar, options_.local, lists_, wire_, out, stop));
    } else {
      TRY(wire_.Get(blob, out, stop));
    }
    ++layers_;
    return Ok();
  }

  Status Export(const Offer& offer, const OnProgress& on_progress, std::stop_token stop) override;

  Traffic traffic() override {
    return {.hits = hits_, .layers = layers_, .bytes_read = wire_.bytes_read,
            .bytes_written = wire_.bytes_written, .requests = storage_->requests().value_or(wire_.requests),
            .refused = refused_.Lock()->size()};
  }

  std::vector<std::string> TakeNotices() override { return std::exchange(*notices_.Lock(), {}); }

 private:
  using Shared = std::shared_ptr<const Contents>;

  // Whoever asks first loads; the others wait for him.
  Result<Shared> Loaded(std::stop_token stop) {
    auto state = loaded_.Lock();
    if (!*state) {
      TRY_ASSIGN(*state, Load(nullptr, options_.verify.get(), stop));
    }
    return *state;
  }

  // `known`: groups that need not be fetched again.
  Result<Shared> Load(const Contents* known, const VerifyKeys* trusted, std::stop_token stop) {
    METRIC("tier.load");
    ++wire_.requests;
    TRY_ASSIGN(auto listed, storage_->List(stop));
    auto contents = std::make_shared<Contents>();
    std::vector<std::optional<Group>> groups(listed.size());
    TRY(ParallelFor(listed.size(), kParallel, [&](size_t i) -> Status {
      if (known != nullptr) {
        auto it = std::ranges::find(known->entries, listed[i]);
        if (it != known->entries.end()) {
          groups[i] = known->groups[static_cast<size_t>(it - known->entries.begin())];
          return Ok();
        }
      }
      auto group = LoadGroup(listed[i], stop);
      // Asked once more before it counts as damaged, which the next export makes final.
      if (!group && IsDamage(group.error())) group = LoadGroup(listed[i], stop);
      if (group) {
        groups[i] = std::move(*group);
        return Ok();
      }
      Error error = std::move(group).error();
      if (!IsDamage(error)) return error;
      Note(error.message);  // one group that is damaged does not make the others so
      return Ok();
    }));
    for (size_t i = 0; i < listed.size(); ++i) {
      if (!groups[i]) {
        contents->damaged.push_back(listed[i].manifest.digest);
        continue;
      }
      contents->entries.push_back(std::move(listed[i]));
      contents->groups.push_back(std::move(*groups[i]));
    }
    contents->Index(trusted);
    return Shared(std::move(contents));
  }

  static bool IsDamage(const Error& error) {
    return error.code == Code::kNotFound || error.code == Code::kCorrupt;
  }

  Result<Group> LoadGroup(const GroupEntry& entry, std::stop_token stop) {
    if (entry.records.media_type != kRecordsMediaType) {
      return Corrupt("records of an unknown kind: {}", entry.records.media_type);
    }
    TRY_ASSIGN(std::string text, wire_.GetSmall(entry.records, kMaxRecordsBlob, stop));
    return DecodeGroup(text);
  }

  Status FetchTrees(const TreePack& pack, tree::TreeStore& trees, std::stop_token stop) {
    METRIC("tier.trees");
    TRY_ASSIGN(std::string text, wire_.GetSmall(pack.blob, kMaxRecordsBlob, stop));
    TRY_ASSIGN(auto objects, DecodeTrees(text));
    return trees.Put(objects);
  }

  void Note(std::string line) {
    LOG_WARN("{}", line);
    notices_.Lock()->push_back(std::move(line));
  }

  // --- Export ----------------------------------------------------------------------------------------

  static oci::Descriptor AsBlob(const StoredLayer& layer) {
    if (!layer.chunked()) return layer.blob;
    return {.media_type = std::string(oci::kOciLayer), .digest = layer.layer.value, .size = layer.tar_size};
  }

  Result<bool> Holds(const StoredLayer& layer, std::stop_token stop) {
    for (const oci::Descriptor& blob : layer.Blobs()) {
      TRY_ASSIGN(bool held, wire_.Holds(blob, stop));
      if (!held) return false;
    }
    return true;
  }

  static bool HasTopLayer(const Contents& there, const cache::StepRecord& record) {
    return std::ranges::all_of(record.outputs, [&](const cache::Rootfs& output) {
      return output.layers.empty() || there.layers.contains(output.layers.back());
    });
  }

  static bool HasLayerOf(const std::vector<StoredLayer>& layers, const cache::StepRecord& record) {
    return std::ranges::any_of(layers, [&](const StoredLayer& stored) {
      return std::ranges::any_of(record.outputs, [&](const cache::Rootfs& output) {
        return std::ranges::find(output.layers, stored.layer) != output.layers.end();
      });
    });
  }

  Result<bool> HoldsLayers(const Contents& there, const cache::StepRecord& record,
                           std::stop_token stop) {
    for (const cache::Rootfs& output : record.outputs) {
      for (const DiffId& layer : output.layers) {
        auto known = there.layers.find(layer);
        if (known == there.layers.end()) continue;
        TRY_ASSIGN(bool held, Holds(*known->second, stop));
        if (!held) return false;
      }
    }
    return true;
  }

  // The layers that are there as the offer wants them, and the names of the others.
  Result<std::vector<StoredLayer>> KeepLayers(const Contents& there, const Offer& offer,
                                              const std::set<DiffId>& layers,
                                              std::vector<DiffId>& missing, std::stop_token stop);
  // Several at once; those that this machine does not have are left out. `send`: when they are made.
  using LayerBlobs = std::map<DiffId, Offer::Blob>;
  Result<LayerBlobs> MakeBlobs(const Offer& offer, const std::vector<DiffId>& layers, bool send,
                               const OnProgress& on_progress, std::stop_token stop);
  Status SendLayer(const DiffId& layer, const Offer::Blob& blob, const OnProgress& on_progress,
                   std::stop_token stop) {
    return wire_.Send(blob.descriptor, blob.open, on_progress, "sending layer " + layer.value.Short(), stop);
  }
  // `added` has the layers that are kept.
  Status SendWhatIsWorthIt(const Contents& there, const Offer& offer, const Group& added, LayerBlobs& blobs,
                           const OnProgress& on_progress, std::stop_token stop);
  Status SendChunks(const Contents& there, const Offer& offer, const std::vector<DiffId>& layers,
                    const OnProgress& on_progress, Group& added, std::stop_token stop);

  const std::unique_ptr<BlobStorage> storage_;
  const PackedOptions options_;
  Clock& clock_;
  Guarded<Shared> loaded_;
  Guarded<std::vector<std::string>> notices_;
  Guarded<std::set<StepKey>> refused_;
  Wire wire_{*storage_};
  ChunkLists lists_{wire_};
  std::atomic<uint64_t> hits_ = 0, layers_ = 0;
};

Result<std::vector<StoredLayer>> PackedTier::KeepLayers(const Contents& there, const Offer& offer,
                                                        const std::set<DiffId>& layers,
                                                        std::vector<DiffId>& missing,
                                                        std::stop_token stop) {
  std::vector<DiffId> wanted(layers.begin(), layers.end());
  std::vector<char> held(wanted.size());
  auto find = [&](size_t i) -> Status {
    auto known = there.layers.find(wanted[i]);
    if (known == there.layers.end()) return Ok();
    if (offer.force_compression && known->second->blob.media_type != offer.media_type) return Ok();
    TRY_ASSIGN(held[i], Holds(*known->second, stop));
    return Ok();
  };
  TRY(ParallelFor(wanted.size(), kParallel, find));
  std::vector<StoredLayer> kept;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (held[i]) kept.push_back(*there.layers.at(wanted[i]));
    else missing.push_back(wanted[i]);
  }
  return kept;
}

Result<PackedTier::LayerBlobs> PackedTier::MakeBlobs(const Offer& offer, const std::vector<DiffId>& layers,
                                                     bool send, const OnProgress& on_progress,
                                                     std::stop_token stop) {
  Guarded<LayerBlobs> made;
  auto make = [&](size_t i) -> Status {
    auto blob = offer.make_blob(layers[i], stop);
    if (!blob && blob.error().code == Code::kNotFound) return Ok();
    if (!blob) return Error(std::move(blob).error());
    if (send) TRY(SendLayer(layers[i], *blob, on_progress, stop));
    made.Lock()->emplace(layers[i], std::move(*blob));
    return Ok();
  };
  TRY(ParallelFor(layers.size(), kParallel, make));
  return std::move(*made.Lock());
}

Status PackedTier::SendWhatIsWorthIt(const Contents& there, const Offer& offer, const Group& added,
                                     LayerBlobs& blobs, const OnProgress& on_progress,
                                     std::stop_token stop) {
  Group wanted = added;
  for (const auto& [layer, blob] : blobs) wanted.layers.push_back({layer, blob.descriptor});
  std::set<StepKey> of_result;
  for (const Offer::Record& offered : offer.records) {
    bool beyond = std::ranges::any_of(offered.record.outputs, [&](const cache::Rootfs& output) {
      return std::ranges::any_of(output.layers, [&](const DiffId& layer) {
        return offer.layers.contains(layer) && !offer.result_layers.contains(layer);
      });
    });
    if (!beyond) of_result.insert(offered.record.key);
  }
  std::set<DiffId> worth = WorthSending(there.groups, wanted, offer.result_layers, of_result,
                                        options_.max_size, clock_.Now());
  size_t left_out = 0;
  uint64_t bytes = 0;
  std::erase_if(blobs, [&](const auto& entry) {
    if (worth.contains(entry.first)) return false;
    ++left_out;
    bytes += entry.second.descriptor.size;
    return true;
  });
  if (left_out > 0) {
    auto of_the_result = [&](const DiffId& layer) { return offer.result_layers.contains(layer); };
    bool least = std::ranges::all_of(added.layers, of_the_result, &StoredLayer::layer) &&
                 std::ranges::all_of(blobs, of_the_result, &LayerBlobs::value_type::first);
    Note(fmt::format("{} of {} layers ({}) were not sent, since max-size={} is reached{}", left_out,
                     left_out + added.layers.size() + blobs.size(), FormatBytes(bytes),
                     FormatBytes(options_.max_size), least ? ": the export was one of mode=min" : ""));
  }
  for (const auto& [layer, blob] : blobs) TRY(SendLayer(layer, blob, on_progress, stop));
  return Ok();
}

Status PackedTier::SendChunks(const Contents& there, const Offer& offer, const std::vector<DiffId>& layers,
                              const OnProgress& on_progress, Group& added, std::stop_token stop) {
  std::vector<const Offer::Mount*> mounts;
  for (const Offer::Mount& mount : offer.mounts) {
    if (mount.changed || !there.mounts.contains(mount.key)) mounts.push_back(&mount);
  }
  if (layers.empty() && mounts.empty()) return Ok();
  ChunkSender sender(wire_, lists_, offer.chunk_level, stop);
  std::vector<const StoredLayer*> known;
  for (const auto& [key, mount] : there.mounts) known.push_back(&mount->tar);
  for (auto group = there.groups.rbegin(); group != there.groups.rend(); ++group) {
    for (const StoredLayer& layer : group->layers) {
      if (there.Takes(layer)) known.push_back(&layer);
    }
  }
  TRY(sender.Know(known));
  for (const DiffId& layer : layers) {
    std::string id = "sending layer " + layer.value.Short();
    uint64_t before = wire_.bytes_written;
    Status sent = sender.AddLayer(layer, [&](Writer& out, std::stop_token token) {
      return offer.write_tar(layer, out, token);
    });
    if (!sent && sent.error().code == Code::kNotFound) continue;
    TRY(std::move(sent));
    uint64_t bytes = wire_.bytes_written - before;
    if (on_progress) on_progress(id, bytes, bytes, true);
  }
  for (const Offer::Mount* mount : mounts) {
    Status sent = sender.AddMount(mount->key, mount->created, mount->write);
    if (sent) continue;
    if (sent.error().code == Code::kUnavailable || stop.stop_requested()) return sent;
    // Somebody removed it, or writes to it at this moment: the tier keeps what it has.
    Note(fmt::format("cache mount {} was not sent: {}", mount->id, sent.error().message));
  }
  TRY_ASSIGN(auto sent, sender.Finish());
  for (StoredLayer& layer : sent.layers) added.layers.push_back(std::move(layer));
  for (StoredMount& mount : sent.mounts) {
    auto before = there.mounts.find(mount.key);
    bool same = before != there.mounts.end() && before->second->tar.layer == mount.tar.layer &&
                before->second->tar.packs == mount.tar.packs;
    if (!same) added.mounts.push_back(std::move(mount));
  }
  return Ok();
}

Status PackedTier::Export(const Offer& offer, const OnProgress& on_progress, std::stop_token stop) {
  METRIC("tier.export");
  CHECK(!options_.evicts_by_itself || (!offer.chunked && offer.mounts.empty()));
  Shared before = *loaded_.Lock();
  std::optional<VerifyKeys> own;
  if (options_.sign) own = options_.sign->verify_keys();
  TRY_ASSIGN(Shared there, Load(before.get(), own ? &*own : nullptr, stop));

  // What is new: records that the tier lacks, or has without a layer that this build can give.
  Group added;
  std::set<DiffId> layers;
  std::set<StepKey> there_already_keys;
  for (const Offer::Record& offered : offer.records) {
    auto known = there->records.find(offered.record.key);
    bool there_already = known != there->records.end();
    if (there_already && known->second->outputs != offered.record.outputs) {
      // Another result of the same inputs: others may build on it, so it stays unless this build had to
      // run the step, or it never had its layer.
      if (!offered.fresh && HasTopLayer(*there, *known->second)) continue;
      there_already = false;
    }
    bool layers_missing = false;
    for (const cache::Rootfs& output : offered.record.outputs) {
      for (const DiffId& layer : output.layers) {
        if (offer.layers.contains(layer) && !there->layers.contains(layer)) layers_missing = true;
      }
    }
    // A step that ran although its record is there may have run because a blob is not.
    if (there_already && !layers_missing && (offered.fresh || options_.evicts_by_itself)) {
      TRY_ASSIGN(bool whole, HoldsLayers(*there, offered.record, stop));
      layers_missing = !whole;
    }
    if (there_already && !layers_missing && !offer.force_compression) continue;
    if (there_already) there_already_keys.insert(offered.record.key);
    added.records.push_back(offered.record);
    for (const cache::Rootfs& output : offered.record.outputs) {
      for (const DiffId& layer : output.layers) {
        if (offer.layers.contains(layer)) layers.insert(layer);
      }
    }
  }
  bool trees_missing = false;
  std::set<const TreePack*> packs;
  for (const Digest& root : offer.roots) {
    auto pack = there->trees.find(root);
    if (pack == there->trees.end()) trees_missing = true;
    else packs.insert(pack->second);
  }
  for (const TreePack* pack : packs) {
    if (trees_missing) break;
    TRY_ASSIGN(bool held, wire_.Holds(pack->blob, stop));
    trees_missing = !held;
  }
  // Blobs before records (invariant I4).
  std::vector<DiffId> missing;
  TRY_ASSIGN(added.layers, KeepLayers(*there, offer, layers, missing, stop));
  if (!offer.chunked) {
    const bool choose = options_.evicts_by_itself && options_.max_size > 0;
    TRY_ASSIGN(auto blobs, MakeBlobs(offer, std::exchange(missing, {}), !choose, on_progress, stop));
    if (choose) TRY(SendWhatIsWorthIt(*there, offer, added, blobs, on_progress, stop));
    for (const auto& [layer, blob] : blobs) added.layers.push_back({layer, blob.descriptor});
    // A record that was here without its layers, and stays so, is nothing new.
    if (choose) {
      std::erase_if(added.records, [&](const cache::StepRecord& record) {
        return there_already_keys.contains(record.key) && !HasLayerOf(added.layers, record);
      });
    }
  }
  TRY(SendChunks(*there, offer, missing, on_progress, added, stop));
  if (added.records.empty() && added.mounts.empty() && !trees_missing && there->damaged.empty()) {
    return Ok();
  }
  if (trees_missing) {
    TRY_ASSIGN(std::string pack, EncodeTrees(offer.objects));
    TreePack& trees = added.trees.emplace_back(Describe(pack, kTreesMediaType), offer.roots);
    TRY(wire_.Send(trees.blob, OpenText(std::move(pack)), stop));
  }

  std::set<StepKey> made;
  for (const cache::StepRecord& record : added.records) made.insert(record.key);
  if (options_.sign) TRY(SignGroup(added, *options_.sign));
  std::vector<Digest> replaced = there->damaged;
  std::vector<Group> all = there->groups;
  all.push_back(std::move(added));
  if (all.size() > kMaxGroups || (options_.max_size > 0 && BytesOf(all) > options_.max_size)) {
    for (const GroupEntry& entry : there->entries) replaced.push_back(entry.manifest.digest);
    Group one = MergeGroups(all);
    if (options_.max_size > 0) Shrink(one, options_.max_size, clock_.Now(), made);
    all = {std::move(one)};
  }
  const Group& group = all.back();
  TRY_ASSIGN(std::string records, EncodeGroup(group));
  if (records.size() > kMaxRecordsBlob) {
    return Resource("the records of the tier take {}: give it a smaller max-size",
                    FormatBytes(records.size()));
  }
  GroupEntry entry{.records = Describe(records, kRecordsMediaType)};
  TRY(wire_.Send(entry.records, OpenText(std::move(records)), stop));
  std::string manifest = oci::Serialise(ManifestOf(group, entry.records));
  entry.manifest = Describe(manifest, oci::kOciManifest);
  entry.manifest.artifact_type = kRecordsMediaType;
  wire_.requests += 2;
  TRY(storage_->Replace(entry, manifest, replaced, stop));
  wire_.bytes_written += manifest.size();
  return Ok();
}

}  // namespace

std::unique_ptr<Tier> MakePackedTier(std::unique_ptr<BlobStorage> storage, PackedOptions options,
                                     Clock& clock) {
  return std::make_unique<PackedTier>(std::move(storage), std::move(options), clock);
}

}  // namespace varve::tier
