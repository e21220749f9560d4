#include "tier/packed_tier.h"

#include <algorithm>
#include <atomic>
#include <map>

#include "base/guarded.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "tier/group.h"
#include "tier/shrink.h"

namespace varve::tier {

namespace {

constexpr size_t kParallel = 8;

class TextReader final : public Reader {
 public:
  TextReader(std::shared_ptr<const std::string> text, uint64_t offset)
      : text_(std::move(text)), in_(std::string_view(*text_).substr(std::min<uint64_t>(offset, text_->size()))) {}
  Result<size_t> Read(std::span<char> buffer) override { return in_.Read(buffer); }

 private:
  const std::shared_ptr<const std::string> text_;
  StringReader in_;
};

// Storages may keep it.
OpenAt OpenText(std::string text) {
  return [kept = std::make_shared<const std::string>(std::move(text))](
             uint64_t offset) -> Result<std::unique_ptr<Reader>> {
    return std::make_unique<TextReader>(kept, offset);
  };
}

oci::Descriptor Describe(const std::string& text, std::string_view media_type) {
  return {.media_type = std::string(media_type), .digest = Digest::Of(text), .size = text.size()};
}

// What has been read of a blob by all who read parts of it, now or when the storage gets round to it.
class SentBytes {
 public:
  SentBytes(const OnProgress& tell, std::string id, uint64_t total)
      : tell_(tell), id_(std::move(id)), total_(total) {}
  void Add(uint64_t bytes) {
    constexpr uint64_t kStep = 1 << 20;
    uint64_t before = bytes_.fetch_add(bytes), now = std::min(before + bytes, total_);
    if (now == total_) Done();
    else if (tell_ && before / kStep != now / kStep) tell_(id_, now, total_, false);
  }
  void Done() {
    if (tell_ && !done_.exchange(true)) tell_(id_, total_, total_, true);
  }

 private:
  const OnProgress& tell_;
  const std::string id_;
  const uint64_t total_;
  std::atomic<uint64_t> bytes_ = 0;
  std::atomic<bool> done_ = false;
};

class SentReader final : public Reader {
 public:
  SentReader(std::unique_ptr<Reader> in, std::shared_ptr<SentBytes> sent)
      : in_(std::move(in)), sent_(std::move(sent)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    TRY_ASSIGN(size_t n, in_->Read(buffer));
    sent_->Add(n);
    return n;
  }

 private:
  const std::unique_ptr<Reader> in_;
  const std::shared_ptr<SentBytes> sent_;
};

class LimitedWriter final : public Writer {
 public:
  LimitedWriter(uint64_t limit, std::atomic<uint64_t>& bytes) : limit_(limit), bytes_(bytes) {}
  Status Write(std::string_view data) override {
    bytes_ += data.size();
    if (text.size() + data.size() > limit_) return Corrupt("a blob is longer than its descriptor says");
    text.append(data);
    return Ok();
  }
  std::string text;

 private:
  const uint64_t limit_;
  std::atomic<uint64_t>& bytes_;
};

class CountingWriter final : public Writer {
 public:
  CountingWriter(Writer& out, std::atomic<uint64_t>& bytes) : out_(out), bytes_(bytes) {}
  Status Write(std::string_view data) override {
    bytes_ += data.size();
    return out_.Write(data);
  }

 private:
  Writer& out_;
  std::atomic<uint64_t>& bytes_;
};

// What the groups say together.
struct Contents {
  std::vector<GroupEntry> entries;  // of the groups that could be read
  std::vector<Group> groups;        // as `entries`
  std::vector<Digest> damaged;      // manifests of the others: the next export takes them away
  std::map<StepKey, const cache::StepRecord*> records;  // the newest of each key
  std::map<DiffId, oci::Descriptor> layers;
  std::map<Digest, const TreePack*> trees;  // by root

  void Index() {
    records.clear(), layers.clear(), trees.clear();
    for (const Group& group : groups) {
      for (const cache::StepRecord& record : group.records) {
        const cache::StepRecord*& known = records[record.key];
        if (known == nullptr || record.created > known->created) known = &record;
      }
      for (const StoredLayer& layer : group.layers) layers.insert_or_assign(layer.layer, layer.blob);
      for (const TreePack& pack : group.trees) {
        for (const Digest& root : pack.roots) trees[root] = &pack;
      }
    }
  }
};

class PackedTier final : public Tier {
 public:
  PackedTier(std::unique_ptr<BlobStorage> storage, PackedOptions options, Clock& clock)
      : storage_(std::move(storage)), options_(options), clock_(clock) {}

  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys,
                                                                tree::TreeStore& trees,
                                                                std::stop_token stop) override {
    METRIC("tier.look_up");
    TRY_ASSIGN(auto contents, Loaded(stop));
    std::vector<std::optional<cache::StepRecord>> found(keys.size());
    std::set<const TreePack*> needed;
    for (size_t i = 0; i < keys.size(); ++i) {
      auto it = contents->records.find(keys[i]);
      if (it == contents->records.end()) continue;
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

  Result<std::optional<oci::Descriptor>> FindLayer(const DiffId& layer, std::stop_token stop) override {
    TRY_ASSIGN(auto contents, Loaded(stop));
    auto it = contents->layers.find(layer);
    return it == contents->layers.end() ? std::nullopt : std::optional(it->second);
  }

  Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override {
    ++requests_;
    CountingWriter counted(out, bytes_read_);
    TRY(storage_->Get(blob, counted, stop));
    ++layers_;
    return Ok();
  }

  Status Export(const Offer& offer, const OnProgress& on_progress, std::stop_token stop) override;

  Traffic traffic() override {
    return {.hits = hits_, .layers = layers_, .bytes_read = bytes_read_,
            .bytes_written = bytes_written_, .requests = storage_->requests().value_or(requests_)};
  }

  std::vector<std::string> TakeNotices() override { return std::exchange(*notices_.Lock(), {}); }

 private:
  using Shared = std::shared_ptr<const Contents>;

  // Whoever asks first loads; the others wait for him.
  Result<Shared> Loaded(std::stop_token stop) {
    auto state = loaded_.Lock();
    if (!*state) {
      TRY_ASSIGN(*state, Load(nullptr, stop));
    }
    return *state;
  }

  // `known`: groups that need not be fetched again.
  Result<Shared> Load(const Contents* known, std::stop_token stop) {
    METRIC("tier.load");
    ++requests_;
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
    contents->Index();
    return Shared(std::move(contents));
  }

  static bool IsDamage(const Error& error) {
    return error.code == Code::kNotFound || error.code == Code::kCorrupt;
  }

  Result<Group> LoadGroup(const GroupEntry& entry, std::stop_token stop) {
    if (entry.records.media_type != kRecordsMediaType) {
      return Corrupt("records of an unknown kind: {}", entry.records.media_type);
    }
    TRY_ASSIGN(std::string text, FetchSmall(entry.records, stop));
    return DecodeGroup(text);
  }

  Status FetchTrees(const TreePack& pack, tree::TreeStore& trees, std::stop_token stop) {
    METRIC("tier.trees");
    TRY_ASSIGN(std::string text, FetchSmall(pack.blob, stop));
    TRY_ASSIGN(auto objects, DecodeTrees(text));
    return trees.Put(objects);
  }

  // Verified.
  Result<std::string> FetchSmall(const oci::Descriptor& blob, std::stop_token stop) {
    if (blob.size > kMaxRecordsBlob) return Corrupt("blob {} is too large", blob.digest.ToString());
    ++requests_;
    LimitedWriter out(blob.size, bytes_read_);
    TRY(storage_->Get(blob, out, stop));
    if (out.text.size() != blob.size || Digest::Of(out.text) != blob.digest) {
      return Corrupt("blob {} arrived damaged", blob.digest.ToString());
    }
    return std::move(out.text);
  }

  void Note(std::string line) {
    LOG_WARN("{}", line);
    notices_.Lock()->push_back(std::move(line));
  }

  // --- Export ----------------------------------------------------------------------------------------

  Result<bool> Holds(const oci::Descriptor& blob, std::stop_token stop) {
    ++requests_;
    return storage_->Has(blob, stop);
  }

  Result<bool> Send(const oci::Descriptor& blob, const OpenAt& open, std::stop_token stop) {
    ++requests_;
    TRY_ASSIGN(bool sent, storage_->Put(blob, open, stop));
    if (sent) bytes_written_ += blob.size;
    return sent;
  }

  static bool HasTopLayer(const Contents& there, const cache::StepRecord& record) {
    return std::ranges::all_of(record.outputs, [&](const cache::Rootfs& output) {
      return output.layers.empty() || there.layers.contains(output.layers.back());
    });
  }

  static bool HasLayerOf(const std::map<DiffId, Offer::Blob>& blobs, const cache::StepRecord& record) {
    return std::ranges::any_of(record.outputs, [&](const cache::Rootfs& output) {
      return std::ranges::any_of(output.layers, [&](const DiffId& layer) { return blobs.contains(layer); });
    });
  }

  Result<bool> HoldsLayers(const Contents& there, const cache::StepRecord& record,
                           std::stop_token stop) {
    for (const cache::Rootfs& output : record.outputs) {
      for (const DiffId& layer : output.layers) {
        auto known = there.layers.find(layer);
        if (known == there.layers.end()) continue;
        TRY_ASSIGN(bool held, Holds(known->second, stop));
        if (!held) return false;
      }
    }
    return true;
  }

  using LayerBlobs = std::map<DiffId, Offer::Blob>;  // `open` is empty where the tier has the blob
  Result<LayerBlobs> FindBlobs(const Contents& there, const Offer& offer, const std::set<DiffId>& layers,
                               bool send, const OnProgress& on_progress, std::stop_token stop);
  Status SendLayer(const DiffId& layer, const Offer::Blob& blob, const OnProgress& on_progress,
                   std::stop_token stop);
  Result<LayerBlobs> SendWhatIsWorthIt(const Contents& there, const Offer& offer, Group added,
                                       LayerBlobs blobs, const OnProgress& on_progress, std::stop_token stop);

  const std::unique_ptr<BlobStorage> storage_;
  const PackedOptions options_;
  Clock& clock_;
  Guarded<Shared> loaded_;
  Guarded<std::vector<std::string>> notices_;
  std::atomic<uint64_t> hits_ = 0, layers_ = 0, bytes_read_ = 0, bytes_written_ = 0, requests_ = 0;
};

// Several at once; those that this machine does not have are left out.
Result<PackedTier::LayerBlobs> PackedTier::FindBlobs(const Contents& there, const Offer& offer,
                                                     const std::set<DiffId>& layers, bool send,
                                                     const OnProgress& on_progress, std::stop_token stop) {
  std::vector<DiffId> wanted(layers.begin(), layers.end());
  Guarded<LayerBlobs> found;
  auto find = [&](size_t i) -> Status {
    const DiffId& layer = wanted[i];
    auto known = there.layers.find(layer);
    if (known != there.layers.end() &&
        (!offer.force_compression || known->second.media_type == offer.media_type)) {
      TRY_ASSIGN(bool held, Holds(known->second, stop));
      if (held) {
        found.Lock()->emplace(layer, Offer::Blob{.descriptor = known->second, .open = nullptr});
        return Ok();
      }
    }
    auto blob = offer.make_blob(layer, stop);
    if (!blob && blob.error().code == Code::kNotFound) return Ok();
    if (!blob) return Error(std::move(blob).error());
    if (send) TRY(SendLayer(layer, *blob, on_progress, stop));
    found.Lock()->emplace(layer, std::move(*blob));
    return Ok();
  };
  TRY(ParallelFor(wanted.size(), kParallel, find));
  return std::move(*found.Lock());
}

Status PackedTier::SendLayer(const DiffId& layer, const Offer::Blob& blob, const OnProgress& on_progress,
                             std::stop_token stop) {
  auto progress = std::make_shared<SentBytes>(on_progress, "sending layer " + layer.value.Short(),
                                              blob.descriptor.size);
  OpenAt open = [progress, inner = blob.open](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
    TRY_ASSIGN(auto in, inner(offset));
    return std::make_unique<SentReader>(std::move(in), progress);
  };
  TRY_ASSIGN(bool sent, Send(blob.descriptor, open, stop));
  if (!sent) progress->Done();
  return Ok();
}

Result<PackedTier::LayerBlobs> PackedTier::SendWhatIsWorthIt(const Contents& there, const Offer& offer,
                                                             Group added, LayerBlobs blobs,
                                                             const OnProgress& on_progress,
                                                             std::stop_token stop) {
  for (const auto& [layer, blob] : blobs) added.layers.push_back({layer, blob.descriptor});
  std::set<StepKey> of_result;
  for (const Offer::Record& offered : offer.records) {
    bool beyond = std::ranges::any_of(offered.record.outputs, [&](const cache::Rootfs& output) {
      return std::ranges::any_of(output.layers, [&](const DiffId& layer) {
        return offer.layers.contains(layer) && !offer.result_layers.contains(layer);
      });
    });
    if (!beyond) of_result.insert(offered.record.key);
  }
  std::set<DiffId> worth = WorthSending(there.groups, added, offer.result_layers, of_result,
                                        options_.max_size, clock_.Now());
  size_t left_out = 0;
  uint64_t bytes = 0;
  std::erase_if(blobs, [&](const auto& entry) {
    if (!entry.second.open || worth.contains(entry.first)) return false;
    ++left_out;
    bytes += entry.second.descriptor.size;
    return true;
  });
  if (left_out > 0) {
    bool least = std::ranges::all_of(blobs, [&](const auto& entry) {
      return offer.result_layers.contains(entry.first);
    });
    Note(fmt::format("{} of {} layers ({}) were not sent, since max-size={} is reached{}", left_out,
                     left_out + blobs.size(), FormatBytes(bytes), FormatBytes(options_.max_size),
                     least ? ": the export was one of mode=min" : ""));
  }
  for (const auto& [layer, blob] : blobs) {
    if (blob.open) TRY(SendLayer(layer, blob, on_progress, stop));
  }
  return blobs;
}

Status PackedTier::Export(const Offer& offer, const OnProgress& on_progress, std::stop_token stop) {
  METRIC("tier.export");
  Shared before = *loaded_.Lock();
  TRY_ASSIGN(Shared there, Load(before.get(), stop));

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
    TRY_ASSIGN(bool held, Holds(pack->blob, stop));
    trees_missing = !held;
  }
  if (added.records.empty() && !trees_missing && there->damaged.empty()) return Ok();

  // Blobs before records (invariant I4).
  const bool choose = options_.evicts_by_itself && options_.max_size > 0;
  TRY_ASSIGN(auto blobs, FindBlobs(*there, offer, layers, !choose, on_progress, stop));
  if (choose) {
    TRY_ASSIGN(blobs, SendWhatIsWorthIt(*there, offer, added, std::move(blobs), on_progress, stop));
    // A record that was here without its layers, and stays so, is nothing new.
    std::erase_if(added.records, [&](const cache::StepRecord& record) {
      return there_already_keys.contains(record.key) && !HasLayerOf(blobs, record);
    });
    if (added.records.empty() && !trees_missing && there->damaged.empty()) return Ok();
  }
  for (const auto& [layer, blob] : blobs) added.layers.push_back({layer, blob.descriptor});
  if (trees_missing) {
    TRY_ASSIGN(std::string pack, EncodeTrees(offer.objects));
    TreePack& trees = added.trees.emplace_back(Describe(pack, kTreesMediaType), offer.roots);
    TRY(Send(trees.blob, OpenText(pack), stop));
  }

  std::set<StepKey> made;
  for (const cache::StepRecord& record : added.records) made.insert(record.key);
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
  TRY(Send(entry.records, OpenText(records), stop));
  std::string manifest = oci::Serialise(ManifestOf(group, entry.records));
  entry.manifest = Describe(manifest, oci::kOciManifest);
  entry.manifest.artifact_type = kRecordsMediaType;
  requests_ += 2;
  TRY(storage_->Replace(entry, manifest, replaced, stop));
  bytes_written_ += manifest.size();
  return Ok();
}

}  // namespace

std::unique_ptr<Tier> MakePackedTier(std::unique_ptr<BlobStorage> storage, PackedOptions options,
                                     Clock& clock) {
  return std::make_unique<PackedTier>(std::move(storage), options, clock);
}

}  // namespace varve::tier
