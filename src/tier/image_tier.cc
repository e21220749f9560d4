#include "tier/image_tier.h"

#include "base/io.h"
#include "oci/manifest.h"

namespace varve::tier {

namespace {

constexpr std::string_view kBuildKitCache = "application/vnd.buildkit.cacheconfig.v0";

class RegistryPlace final : public ImagePlace {
 public:
  RegistryPlace(registry::Client& client, oci::Reference reference)
      : client_(client), reference_(reference.WithDefaultTag()) {}

  Result<std::optional<PreviousImage>> Open(const oci::Platform& platform, Traffic& traffic,
                                            std::stop_token stop) override {
    auto fetched = Named(traffic, stop);
    if (!fetched && fetched.error().code == Code::kNotFound) return std::optional<PreviousImage>();
    TRY_ASSIGN(std::string text, std::move(fetched));
    TRY_ASSIGN(Json json, Json::Parse(text));
    if (oci::KindOf(json) == oci::DocumentKind::kIndex) {
      TRY_ASSIGN(oci::Index index, oci::ParseIndex(text));
      for (const oci::Descriptor& entry : index.manifests) {
        if (entry.media_type == kBuildKitCache) return NoImage("a cache of BuildKit's");
      }
      const oci::Descriptor* manifest = index.Find(platform);
      if (manifest == nullptr) return NotFound("the image is not for {}", platform.ToString());
      oci::Reference exact = reference_;
      exact.tag.clear();
      exact.digest = manifest->digest;
      TRY_ASSIGN(text, Manifest(exact, traffic, stop));
    }
    TRY_ASSIGN(oci::Manifest manifest, oci::ParseManifest(text));
    if (manifest.config.media_type == kBuildKitCache) return NoImage("a cache of BuildKit's");
    ++traffic.requests;
    TRY_ASSIGN(std::string config, client_.FetchSmallBlob(reference_, manifest.config, oci::kMaxManifestSize, stop));
    traffic.bytes_read += config.size();
    PreviousImage image;
    TRY_ASSIGN(image.config, oci::ImageConfig::Parse(config));
    image.layers = std::move(manifest.layers);
    if (image.config.diff_ids().size() != image.layers.size()) {
      return NoImage("something else, or damaged: its config does not name its layers");
    }
    return std::optional(std::move(image));
  }

  Result<std::vector<oci::Platform>> Platforms(Traffic& traffic, std::stop_token stop) override {
    TRY_ASSIGN(std::string text, Named(traffic, std::move(stop)));
    TRY_ASSIGN(Json json, Json::Parse(text));
    std::vector<oci::Platform> platforms;
    if (oci::KindOf(json) != oci::DocumentKind::kIndex) return platforms;
    TRY_ASSIGN(oci::Index index, oci::ParseIndex(text));
    for (const oci::Descriptor& entry : index.manifests) {
      if (entry.platform && index.Find(*entry.platform) == &entry) platforms.push_back(*entry.platform);
    }
    return platforms;
  }

  Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override {
    return client_.FetchBlob(reference_, blob, out, stop);
  }

 private:
  static Error NoImage(std::string_view what) {
    return Invalid("what is there is neither a cache of varve's nor an image, but {}", what);
  }

  // The document that the reference names: all platforms are to be of one.
  Result<std::string> Named(Traffic& traffic, std::stop_token stop) {
    auto named = named_.Lock();
    if (!*named) {
      TRY_ASSIGN(*named, Manifest(reference_, traffic, std::move(stop)));
    }
    return **named;
  }

  Result<std::string> Manifest(const oci::Reference& reference, Traffic& traffic, std::stop_token stop) {
    ++traffic.requests;
    TRY_ASSIGN(auto document, client_.FetchManifest(reference, stop));
    traffic.bytes_read += document.text.size();
    return std::move(document.text);
  }

  registry::Client& client_;
  const oci::Reference reference_;
  Guarded<std::optional<std::string>> named_;
};

}  // namespace

std::unique_ptr<ImagePlace> MakeRegistryPlace(registry::Client& client, oci::Reference reference) {
  return std::make_unique<RegistryPlace>(client, std::move(reference));
}

ImageTier::ImageTier(std::unique_ptr<Tier> cache, std::unique_ptr<ImagePlace> in_registry,
                     std::vector<std::unique_ptr<ImagePlace>> elsewhere)
    : cache_(std::move(cache)), in_registry_(std::move(in_registry)), elsewhere_(std::move(elsewhere)) {}

Result<std::vector<std::optional<cache::StepRecord>>> ImageTier::GetMany(const std::vector<StepKey>& keys,
                                                                         tree::TreeStore& trees, std::stop_token stop) {
  std::optional<Error> known;
  {
    auto state = state_.Lock();
    state->asked = true;
    known = state->no_cache;
  }
  if (!known) {
    auto records = cache_->GetMany(keys, trees, stop);
    if (records) return records;
    // An error is kept for Image(): there may be an image instead.
    if (stop.stop_requested() && elsewhere_.empty()) return records;
    state_.Lock()->no_cache = std::move(records).error();
  }
  return std::vector<std::optional<cache::StepRecord>>(keys.size());
}

ImageTier::Opened ImageTier::OpenImage(State& state, const oci::Platform& platform, std::stop_token stop) {
  std::vector<ImagePlace*> places;
  Opened opened;
  if (state.no_cache && state.no_cache->code == Code::kInvalid) places.push_back(in_registry_.get());
  else opened.error = state.no_cache;
  for (const auto& place : elsewhere_) places.push_back(place.get());
  for (ImagePlace* place : places) {
    auto image = place->Open(platform, state.traffic, stop);
    if (!image) {
      if (!opened.error) opened.error = std::move(image).error();
      continue;
    }
    if (!*image) continue;
    const std::vector<DiffId> ids = (*image)->config.diff_ids();
    for (size_t i = 0; i < ids.size() && i < (*image)->layers.size(); ++i) {
      const oci::Descriptor& layer = (*image)->layers[i];
      if (layer.digest.empty()) continue;
      state.layers.insert_or_assign(ids[i], std::pair(layer, place));
      state.blobs[layer.digest] = place;
    }
    return {std::move(*image), {}};
  }
  return opened;
}

Result<std::optional<PreviousImage>> ImageTier::Image(const oci::Platform& platform, std::stop_token stop) {
  auto state = state_.Lock();
  if (!state->asked) return std::optional<PreviousImage>();
  auto [it, is_new] = state->images.try_emplace(platform.ToString());
  if (is_new) it->second = OpenImage(*state, platform, std::move(stop));
  if (it->second.error) return Error(*it->second.error);
  return it->second.image;
}

std::vector<oci::Platform> ImageTier::Platforms(std::stop_token stop) {
  auto state = state_.Lock();
  if (!state->asked || !state->no_cache || state->no_cache->code != Code::kInvalid) return {};
  auto platforms = in_registry_->Platforms(state->traffic, std::move(stop));
  return platforms ? std::move(*platforms) : std::vector<oci::Platform>();
}

std::vector<cache::StepRecord> ImageTier::Traced(const Digest& weak_key, size_t limit) {
  return cache_->Traced(weak_key, limit);
}

std::vector<cache::StepRecord> ImageTier::Earlier(const std::string& slot, const Digest& op_digest, size_t limit) {
  return cache_->Earlier(slot, op_digest, limit);
}

Result<std::optional<oci::Descriptor>> ImageTier::FindLayer(const DiffId& layer, std::stop_token stop) {
  {
    auto state = state_.Lock();
    auto found = state->layers.find(layer);
    if (found != state->layers.end()) return std::optional(found->second.first);
    if (state->no_cache) return std::optional<oci::Descriptor>();
  }
  return cache_->FindLayer(layer, std::move(stop));
}

Result<std::optional<oci::Descriptor>> ImageTier::FindMount(const std::string& key, std::stop_token stop) {
  if (state_.Lock()->no_cache) return std::optional<oci::Descriptor>();
  return cache_->FindMount(key, std::move(stop));
}

Status ImageTier::Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token stop) {
  ImagePlace* place = nullptr;
  {
    auto state = state_.Lock();
    auto found = state->blobs.find(blob.digest);
    if (found != state->blobs.end()) place = found->second;
  }
  if (place == nullptr) return cache_->Fetch(blob, out, std::move(stop));
  TRY(place->Fetch(blob, out, std::move(stop)));
  auto state = state_.Lock();
  ++state->traffic.requests;
  ++state->traffic.layers;
  state->traffic.bytes_read += blob.size;
  return Ok();
}

Status ImageTier::Export(const Offer& offer, const OnProgress& on_progress, std::stop_token stop) {
  return cache_->Export(offer, on_progress, std::move(stop));
}

Traffic ImageTier::traffic() {
  Traffic traffic = cache_->traffic();
  auto state = state_.Lock();
  traffic.hits += state->traffic.hits;
  traffic.layers += state->traffic.layers;
  traffic.bytes_read += state->traffic.bytes_read;
  traffic.requests += state->traffic.requests;
  return traffic;
}

std::vector<std::string> ImageTier::TakeNotices() { return cache_->TakeNotices(); }

}  // namespace varve::tier
