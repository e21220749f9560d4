#include "tier/packed_tier.h"

#include <algorithm>
#include <atomic>
#include <set>

#include "base/guarded.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/thread_pool.h"
#include "tier/chunked.h"
#include "tier/contents.h"
#include "tier/exporter.h"
#include "tier/wire.h"

namespace varve::tier {

namespace {

constexpr size_t kParallel = 8;

constexpr uint64_t kEnoughToMeasure = 1 << 20;  // bytes read, to tell how fast the tier is

class PackedTier final : public Tier {
 public:
  PackedTier(std::unique_ptr<BlobStorage> storage, PackedOptions options, Clock& clock)
      : storage_(std::move(storage)), options_(std::move(options)), clock_(clock) {}

  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys,
                                                                tree::TreeStore& trees, std::stop_token stop) override {
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
      if (fetched || fetched.error().code == Code::kCancelled || fetched.error().code == Code::kUnavailable) {
        return fetched;
      }
      Note(fmt::format("trees of a record: {}", fetched.error().message));
      return Ok();
    }));
    return found;
  }

  std::vector<cache::StepRecord> Earlier(const std::string& slot, const Digest& op_digest, size_t limit) override {
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

  std::vector<cache::StepRecord> Traced(const Digest& weak_key, size_t limit) override {
    Shared contents = *loaded_.Lock();
    std::map<Digest, const cache::StepRecord*> runs;
    if (contents) {
      for (const auto& [key, record] : contents->records) {
        if (record->trace && record->trace->weak_key == weak_key) runs.try_emplace(cache::RunOf(*record), record);
      }
    }
    std::vector<const cache::StepRecord*> newest;
    for (const auto& [run, record] : runs) newest.push_back(record);
    std::ranges::sort(newest, std::ranges::greater(), &cache::StepRecord::created);
    std::vector<cache::StepRecord> traced;
    for (size_t i = 0; i < std::min(limit, newest.size()); ++i) traced.push_back(*newest[i]);
    return traced;
  }

  std::optional<std::string> WhyDisowned(const Digest& weak_key) override {
    Shared contents = *loaded_.Lock();
    if (!contents) return std::nullopt;
    auto it = contents->disowned.find(weak_key);
    return it == contents->disowned.end() ? std::nullopt : std::optional(it->second->why);
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
    const Nanos began = clock_.Monotonic();
    const StoredLayer* chunked =
        contents && blob.media_type == oci::kOciLayer ? contents->Chunked(blob.digest) : nullptr;
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
    layer_bytes_read_ += blob.size;
    read_nanos_ += static_cast<uint64_t>((clock_.Monotonic() - began).count());
    return Ok();
  }

  void Distrust(const oci::Descriptor& blob) override { wire_.Distrust(blob.digest); }

  Result<bool> SendAhead(const Offer& terms, const DiffId& layer, std::stop_token stop) override {
    METRIC("tier.send_ahead");
    TRY_ASSIGN(Shared there, ThereAhead(stop));
    auto known = there->layers.find(layer);
    if (known != there->layers.end() && !terms.replace &&
        (!terms.force_compression || known->second->blob.media_type == terms.media_type)) {
      bool held = true;
      for (const oci::Descriptor& part : known->second->Blobs()) {
        TRY_ASSIGN(bool holds, wire_.Holds(part, stop));
        held = held && holds;
      }
      if (held) return false;
    }
    if (terms.chunked) {
      TRY(AddChunksAhead(terms, layer, *there, stop));
    } else {
      auto blob = MakeBlob(terms, layer, stop);
      if (!blob) return false;
      TRY_ASSIGN(bool sent, wire_.SendAhead(blob->descriptor, blob->open, stop));
      if (!sent) return false;
    }
    ++layers_ahead_;
    return true;
  }

  Status Export(const Offer& offer, const OnProgress& on_progress, std::stop_token stop) override {
    METRIC("tier.export");
    Shared before;
    {
      auto ahead = ahead_.Lock();
      before = ahead->there ? ahead->there : *loaded_.Lock();
      // Places keep for an hour what nothing names yet.
      constexpr Nanos kTrusted{int64_t{kDroppedGraceSeconds} / 2 * 1'000'000'000};
      if (ahead->there && clock_.Monotonic() - ahead->began > kTrusted) {
        wire_.ForgetSent();
        ahead->chunks.reset();
      }
      bytes_ahead_ = ahead->there ? wire_.bytes_sent() : 0;
    }
    TRY_ASSIGN(Shared there, LoadForExport(before.get(), stop));
    ExportTarget to{.wire = wire_,
                    .lists = lists_,
                    .options = options_,
                    .clock = clock_,
                    .rates = MeasuredRates(),
                    .note = [this](std::string line) { Note(std::move(line)); },
                    .chunks = offer.chunked ? std::move(ahead_.Lock()->chunks) : nullptr};
    TRY_ASSIGN(Exported exported, tier::Export(to, *there, offer, on_progress, std::move(stop)));
    left_out_ += exported.left_out;
    return Ok();
  }

  Traffic traffic() override {
    return {.hits = hits_,
            .layers = layers_,
            .bytes_read = wire_.bytes_read,
            .bytes_written = wire_.bytes_sent(),
            .requests = storage_->requests().value_or(wire_.requests),
            .refused = refused_.Lock()->size(),
            .left_out = left_out_,
            .layers_ahead = layers_ahead_,
            .bytes_ahead = bytes_ahead_};
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

  Result<Shared> Load(const Contents* known, const VerifyKeys* trusted, std::stop_token stop) {
    return LoadContents(
        *storage_, wire_, known, trusted, [this](std::string line) { Note(std::move(line)); }, std::move(stop));
  }

  // As whoever has the key of an export sees it.
  Result<Shared> LoadForExport(const Contents* known, std::stop_token stop) {
    std::optional<VerifyKeys> own;
    if (options_.sign) own = options_.sign->verify_keys();
    return Load(known, own ? &*own : nullptr, std::move(stop));
  }

  // What was there when the first layer was sent ahead.
  Result<Shared> ThereAhead(std::stop_token stop) {
    auto ahead = ahead_.Lock();
    if (!ahead->there) {
      ahead->began = clock_.Monotonic();
      Shared known = *loaded_.Lock();
      TRY_ASSIGN(ahead->there, LoadForExport(known.get(), std::move(stop)));
    }
    return ahead->there;
  }

  // Nothing: this machine cannot give it.
  static std::optional<Offer::Blob> MakeBlob(const Offer& terms, const DiffId& layer, std::stop_token stop) {
    auto blob = terms.make_blob(layer, std::move(stop));
    if (blob) return std::move(*blob);
    LOG_DEBUG("layer {} is not sent ahead: {}", layer.value.Short(), blob.error().message);
    return std::nullopt;
  }

  // One layer after the other: a layer's chunks are not sent with the next one's again.
  Status AddChunksAhead(const Offer& terms, const DiffId& layer, const Contents& there, std::stop_token stop) {
    auto ahead = ahead_.Lock();
    if (ahead->chunks == nullptr) {
      ahead->chunks.reset(
          new ChunksAhead{ChunkSender(wire_, lists_, options_.local.scratch, terms.chunk_level, stop), {}});
      TRY(ahead->chunks->sender.Know(there.Tars()));
    }
    if (!ahead->chunks->layers.insert(layer).second) return Ok();
    Status added = ahead->chunks->sender.AddLayer(
        layer, [&](Writer& out, std::stop_token token) { return terms.write_tar(layer, out, std::move(token)); });
    if (!added) ahead->chunks.reset();  // the export begins anew
    return added;
  }

  Status FetchTrees(const TreePack& pack, tree::TreeStore& trees, std::stop_token stop) {
    METRIC("tier.trees");
    TRY_ASSIGN(std::string text, wire_.GetSmall(pack.blob, kMaxRecordsBlob, stop));
    TRY_ASSIGN(auto objects, DecodeTrees(text));
    return trees.Put(objects);
  }

  void Note(std::string line) {
    // Once, though look-ups and the export both read what is there.
    if (!noted_.Lock()->insert(line).second) return;
    LOG_WARN("{}", line);
    notices_.Lock()->push_back(std::move(line));
  }

  Rates MeasuredRates() const {
    Rates rates;
    double seconds = static_cast<double>(read_nanos_) / 1e9;
    if (layer_bytes_read_ >= kEnoughToMeasure && seconds > 0) {
      rates.down = static_cast<double>(layer_bytes_read_) / seconds;
    }
    return rates;
  }

  static oci::Descriptor AsBlob(const StoredLayer& layer) {
    if (!layer.chunked()) return layer.blob;
    return {.media_type = std::string(oci::kOciLayer), .digest = layer.layer.value, .size = layer.tar_size};
  }

  struct Ahead {
    Shared there;  // null: nothing was sent ahead
    Nanos began{0};
    std::unique_ptr<ChunksAhead> chunks;
  };

  const std::unique_ptr<BlobStorage> storage_;
  const PackedOptions options_;
  Clock& clock_;
  Guarded<Shared> loaded_;
  Guarded<std::vector<std::string>> notices_;
  Guarded<std::set<std::string>> noted_;
  Guarded<std::set<StepKey>> refused_;
  Wire wire_{*storage_};
  ChunkLists lists_{wire_};
  Guarded<Ahead> ahead_;  // after lists_, which its chunks use
  std::atomic<uint64_t> hits_ = 0, layers_ = 0, left_out_ = 0;
  std::atomic<uint64_t> layers_ahead_ = 0, bytes_ahead_ = 0;
  std::atomic<uint64_t> layer_bytes_read_ = 0, read_nanos_ = 0;  // of Fetch alone
};

}  // namespace

std::unique_ptr<Tier> MakePackedTier(std::unique_ptr<BlobStorage> storage, PackedOptions options, Clock& clock) {
  return std::make_unique<PackedTier>(std::move(storage), std::move(options), clock);
}

}  // namespace varve::tier
