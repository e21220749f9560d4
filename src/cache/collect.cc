#include "cache/collect.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/metric.h"
#include "cache/lease.h"

namespace varve::cache {

namespace {

constexpr size_t kBatch = 64;  // things removed under one hold of the collection lock
constexpr uint64_t kMaxManifest = 16 << 20;
constexpr std::string_view kUnreferenced = "nothing refers to it";

struct Marks {
  std::unordered_set<Digest> trees, layers, blobs;
};

class Collection {
 public:
  Collection(const std::string& root, LocalStore& store, cas::BlobStore& blobs, LayerData& layers,
             const CollectionPolicy& policy, Clock& clock, std::stop_token stop)
      : root_(root), store_(store), contents_(store.contents()), blobs_(blobs), layers_(layers), policy_(policy),
        began_(clock.Now()), stop_(stop) {}

  Result<Collected> Run() {
    TRY(RefreshLeases());
    TRY(DropRecords());
    TRY(DropChains());
    TRY(Mark());
    if (policy_.sweep) TRY(SweepTrees());
    TRY(SweepLayers());
    TRY(SweepBlobs());
    return std::move(result_);
  }

 private:
  // --- Protection
  // ------------------------------------------------------------------------------------

  Status RefreshLeases() {
    TRY_ASSIGN(CollectionLock lock, CollectionLock::Take(root_, stop_));
    TRY_ASSIGN(leases_, lock.Read());
    return Ok();
  }

  Timestamp SparedFrom() const { return std::min(began_, leases_.oldest_start.value_or(began_)); }

  void Spare() { ++result_.spared; }

  void Removed(Removal::Kind kind, const Digest& digest, uint64_t bytes, std::string_view rule) {
    LOG_INFO("collected {} ({}): {}", digest.ToString(), bytes, rule);
    result_.removed.push_back({kind, digest, bytes, std::string(rule)});
    result_.bytes += bytes;
  }

  // Runs `remove` on the items in batches, each with the leases and marks of that moment.
  template <class Item>
  Status InBatches(const std::vector<Item>& items, const std::function<Status(std::span<const Item>)>& remove) {
    for (size_t at = 0; at < items.size(); at += kBatch) {
      if (stop_.stop_requested()) return Cancelled("collection was cancelled");
      TRY_ASSIGN(CollectionLock lock, CollectionLock::Take(root_, stop_));
      TRY_ASSIGN(leases_, lock.Read());
      TRY(MarkLeases());
      TRY(MarkRecords());
      TRY(remove(std::span(items).subspan(at, std::min(kBatch, items.size() - at))));
    }
    return Ok();
  }

  // --- Records
  // ---------------------------------------------------------------------------------------

  Status DropRecords() {
    if (!policy_.drop_record) return Ok();
    TRY_ASSIGN(std::vector<RecordUse> records, contents_.Records());
    std::vector<std::pair<RecordUse, std::string>> drop;
    for (const RecordUse& record : records) {
      if (auto rule = policy_.drop_record(record)) drop.emplace_back(record, *rule);
    }
    for (size_t at = 0; at < drop.size(); at += kBatch) {
      if (stop_.stop_requested()) return Cancelled("collection was cancelled");
      TRY_ASSIGN(CollectionLock lock, CollectionLock::Take(root_, stop_));
      TRY_ASSIGN(leases_, lock.Read());
      for (size_t i = at; i < std::min(at + kBatch, drop.size()); ++i) {
        const auto& [record, rule] = drop[i];
        if (leases_.Holds(LeaseKind::kRecord, record.key.value)) {
          Spare();
          continue;
        }
        TRY(contents_.DropRecord(record.key, rule));
        Removed(Removal::Kind::kRecord, record.key.value, record.stored_bytes, rule);
      }
    }
    return Ok();
  }

  Status DropChains() {
    if (!policy_.drop_chain) return Ok();
    TRY_ASSIGN(auto chains, contents_.ChainTrees());
    for (const auto& [chain, tree] : chains) {
      auto rule = policy_.drop_chain(chain);
      if (!rule) continue;
      TRY(contents_.ForgetChainTree(chain));
      Removed(Removal::Kind::kChain, chain.value, 0, *rule);
    }
    return Ok();
  }

  // --- Marks
  // -----------------------------------------------------------------------------------------

  Status Mark() {
    TRY(MarkLeases());
    TRY(MarkRecords());
    TRY_ASSIGN(auto chains, contents_.ChainTrees());
    for (const auto& [chain, tree] : chains) TRY(MarkTree(tree));
    TRY_ASSIGN(std::vector<StoredImage> images, store_.ListImages());
    for (const StoredImage& image : images) TRY(MarkManifest(image.manifest));
    for (const Digest& blob : policy_.keep_blobs) TRY(MarkManifest(blob));
    return Ok();
  }

  Status MarkLeases() {
    for (const auto& [kind, digest] : leases_.held) {
      if (kind == LeaseKind::kTree) TRY(MarkTree(digest));
      if (kind == LeaseKind::kLayer) marks_.layers.insert(digest);
      if (kind == LeaseKind::kBlob) TRY(MarkManifest(digest));
    }
    return Ok();
  }

  // Those that came since the last time; all of them at first.
  Status MarkRecords() {
    TRY_ASSIGN(std::vector<RecordUse> records, contents_.Records(last_record_));
    for (const RecordUse& use : records) {
      last_record_ = use.sequence;
      TRY_ASSIGN(auto record, contents_.Read(use.key));
      if (!record) continue;
      for (const Rootfs& output : record->outputs) {
        for (const DiffId& layer : output.layers) marks_.layers.insert(layer.value);
        TRY(MarkTree(output.tree_root));
      }
      for (const InputTree& input : record->inputs) TRY(MarkTree(input.tree_root));
    }
    return Ok();
  }

  // With an own stack: trees are as deep as paths are long.
  Status MarkTree(const Digest& root) {
    if (!policy_.sweep) return Ok();  // no tree will be removed
    std::vector<Digest> pending = {root};
    while (!pending.empty()) {
      Digest digest = pending.back();
      pending.pop_back();
      if (digest.empty() || !marks_.trees.insert(digest).second) continue;
      TRY_ASSIGN(auto directory, store_.Get(digest));
      if (!directory) continue;  // gone before
      for (const tree::Node& node : directory->entries) {
        if (node.IsDirectory()) pending.push_back(node.digest);
      }
    }
    return Ok();
  }

  // A manifest or index: the blobs it names (image-spec manifest.md, image-index.md), and the
  // layers of its config. Anything else names nothing.
  Status MarkManifest(const Digest& digest) {
    if (!marks_.blobs.insert(digest).second) return Ok();
    TRY_ASSIGN(auto size, blobs_.Size(digest));
    if (!size || *size > kMaxManifest) return Ok();
    auto text = blobs_.Get(digest, kMaxManifest);
    auto json = text ? Json::Parse(*text) : Result<Json>(Error(text.error()));
    if (!json) return Ok();
    for (const char* list : {"manifests", "layers"}) {
      for (const Json& item : json->GetArray(list)) TRY(MarkDescriptor(&item));
    }
    TRY(MarkDescriptor(json->Find("config")));
    TRY(MarkDescriptor(json->Find("subject")));
    if (const Json* rootfs = json->Find("rootfs")) {
      for (const std::string& layer : rootfs->GetStrings("diff_ids")) {
        if (auto diff_id = Digest::Parse(layer)) marks_.layers.insert(*diff_id);
      }
    }
    return Ok();
  }

  Status MarkDescriptor(const Json* descriptor) {
    if (descriptor == nullptr) return Ok();
    auto digest = Digest::Parse(descriptor->GetString("digest"));
    return digest ? MarkManifest(*digest) : Ok();
  }

  // --- Sweep
  // -----------------------------------------------------------------------------------------

  Status SweepTrees() {
    Timestamp before{SparedFrom().nanos - StoreContents::kTreeRenewal.count()};
    TRY_ASSIGN(auto trees, contents_.TreesPutBefore(before));
    std::erase_if(trees, [&](const auto& tree) { return marks_.trees.contains(tree.first); });
    using Tree = std::pair<Digest, uint64_t>;
    return InBatches<Tree>(trees, [&](std::span<const Tree> batch) -> Status {
      std::vector<Digest> remove;
      Timestamp limit{SparedFrom().nanos - StoreContents::kTreeRenewal.count()};
      for (const auto& [digest, bytes] : batch) {
        if (marks_.trees.contains(digest)) {
          Spare();
          continue;
        }
        remove.push_back(digest);
        Removed(Removal::Kind::kTree, digest, bytes, kUnreferenced);
      }
      return contents_.RemoveTrees(remove, limit);
    });
  }

  Status SweepLayers() {
    TRY_ASSIGN(std::vector<LayerData::Entry> layers, layers_.List());
    std::vector<std::pair<LayerData::Entry, std::string>> drop;
    for (const LayerData::Entry& entry : layers) {
      if (leases_.Holds(LeaseKind::kLayer, entry.layer.value)) continue;
      std::optional<std::string> rule;
      if (policy_.drop_layer) rule = policy_.drop_layer(entry);
      bool unreferenced = policy_.sweep && !marks_.layers.contains(entry.layer.value);
      if (!rule && unreferenced) rule = kUnreferenced;
      if (rule) drop.emplace_back(entry, *rule);
    }
    using Drop = std::pair<LayerData::Entry, std::string>;
    return InBatches<Drop>(drop, [&](std::span<const Drop> batch) -> Status {
      for (const auto& [entry, rule] : batch) {
        const Digest& digest = entry.layer.value;
        bool marked = rule == kUnreferenced && marks_.layers.contains(digest);
        bool leased = leases_.Holds(LeaseKind::kLayer, digest);
        if (marked || leased || entry.made >= SparedFrom()) {
          Spare();
          continue;
        }
        // The note first: a note without its layer would be a promise, the other way round is not.
        TRY(contents_.ForgetLayer(entry.layer));
        TRY(layers_.Remove(entry.layer));
        Removed(Removal::Kind::kLayer, digest, entry.disk_bytes, rule);
        dropped_layers_.insert(digest);
      }
      return Ok();
    });
  }

  Status SweepBlobs() {
    TRY_ASSIGN(auto layer_blobs, contents_.StoredLayerBlobs());
    std::unordered_set<Digest> of_layers;
    for (const auto& [layer, blob] : layer_blobs) {
      if (marks_.layers.contains(layer.value) && !dropped_layers_.contains(layer.value)) {
        of_layers.insert(blob);
      }
    }
    std::vector<cas::BlobStat> drop;
    TRY(blobs_.ForEachStat([&](const cas::BlobStat& stat) {
      // Marked by an image, a lease or the policy: those are not asked about.
      if (marks_.blobs.contains(stat.digest)) return Ok();
      if (policy_.drop_blob) {
        if (auto rule = policy_.drop_blob(stat)) blob_rules_.emplace(stat.digest, *rule);
      }
      bool unreferenced = policy_.sweep && !of_layers.contains(stat.digest);
      if (unreferenced || blob_rules_.contains(stat.digest)) drop.push_back(stat);
      return Ok();
    }));
    return InBatches<cas::BlobStat>(drop, [&](std::span<const cas::BlobStat> batch) -> Status {
      TRY_ASSIGN(std::vector<StoredImage> images, store_.ListImages());
      for (const StoredImage& image : images) TRY(MarkManifest(image.manifest));
      for (const cas::BlobStat& listed : batch) {
        // Looked at again: an equal blob may have been committed since the list was made.
        TRY_ASSIGN(auto stat, blobs_.Stat(listed.digest));
        if (!stat) continue;
        if (marks_.blobs.contains(stat->digest) || stat->made >= SparedFrom()) {
          Spare();
          continue;
        }
        TRY(blobs_.Remove(stat->digest));
        auto rule = blob_rules_.find(stat->digest);
        Removed(Removal::Kind::kBlob, stat->digest, stat->disk_bytes,
                rule == blob_rules_.end() ? kUnreferenced : std::string_view(rule->second));
      }
      return Ok();
    });
  }

  const std::string& root_;
  LocalStore& store_;
  StoreContents& contents_;
  cas::BlobStore& blobs_;
  LayerData& layers_;
  const CollectionPolicy& policy_;
  const Timestamp began_;
  std::stop_token stop_;

  LiveLeases leases_;
  Marks marks_;
  int64_t last_record_ = 0;
  std::unordered_set<Digest> dropped_layers_;
  std::unordered_map<Digest, std::string> blob_rules_;
  Collected result_;
};

}  // namespace

Result<Collected> Collect(const std::string& root, LocalStore& store, cas::BlobStore& blobs, LayerData& layers,
                          const CollectionPolicy& policy, Clock& clock, std::stop_token stop) {
  METRIC("cache.collect");
  return Collection(root, store, blobs, layers, policy, clock, stop).Run();
}

}  // namespace varve::cache
