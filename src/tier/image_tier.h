// An image that was built earlier, as a tier: its config says what was done, its layers are there to be
// fetched. Which steps of a build it answers is not decided here, but by module previous.
//
// One reference may name a cache of varve's or an image. Which of them shows with the first look-up: the
// cache is asked first, and where it says that what is there is no cache, the image is looked for.
//
// An image may carry records: `--cache-to type=inline` (inline_records.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "oci/image_config.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "registry/client.h"
#include "tier/tier.h"

namespace varve::tier {

struct PreviousImage {
  oci::ImageConfig config;
  std::vector<oci::Descriptor> layers;  // as the config's diff ids; without a digest: not to be fetched
};

// Where an image lies. Blocks; safe from any thread.
class ImagePlace {
 public:
  virtual ~ImagePlace() = default;
  // Nothing: it is not there. kInvalid: what is there is no image. kNotFound: it is for other platforms.
  virtual Result<std::optional<PreviousImage>> Open(const oci::Platform& platform, Traffic& traffic,
                                                    std::stop_token stop) = 0;
  // Of the images that an index there lists. Empty: it is not there, or no index.
  virtual Result<std::vector<oci::Platform>> Platforms(Traffic&, std::stop_token) {
    return std::vector<oci::Platform>();
  }
  // As Tier::Fetch.
  virtual Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token stop) = 0;
};

std::unique_ptr<ImagePlace> MakeRegistryPlace(registry::Client& client, oci::Reference reference);

class ImageTier final : public Tier {
 public:
  // `cache`: what the reference names in its registry, `in_registry` the same as an image; `elsewhere`
  // are asked in order when the registry has neither.
  ImageTier(std::unique_ptr<Tier> cache, std::unique_ptr<ImagePlace> in_registry,
            std::vector<std::unique_ptr<ImagePlace>> elsewhere);

  // The image for a platform, once GetMany was asked. Nothing: there is none. Errors as ImagePlace::Open,
  // and those that GetMany would have had if there could not have been an image instead.
  Result<std::optional<PreviousImage>> Image(const oci::Platform& platform, std::stop_token stop);
  // Of an index in the registry, once GetMany was asked. Empty: there is none, or one image.
  std::vector<oci::Platform> Platforms(std::stop_token stop);
  // So many steps were answered with the image.
  void NoteHits(uint64_t hits) { state_.Lock()->traffic.hits += hits; }

  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys,
                                                                tree::TreeStore& trees, std::stop_token stop) override;
  std::vector<cache::StepRecord> Traced(const Digest& weak_key, size_t limit) override;
  std::vector<cache::StepRecord> Earlier(const std::string& slot, const Digest& op_digest, size_t limit) override;
  Result<std::optional<oci::Descriptor>> FindLayer(const DiffId& layer, std::stop_token stop) override;
  // Of the cache: images have none.
  Result<std::optional<oci::Descriptor>> FindMount(const std::string& key, std::stop_token stop) override;
  Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override;
  void Distrust(const oci::Descriptor& blob) override { cache_->Distrust(blob); }
  Result<bool> SendAhead(const Offer& terms, const DiffId& layer, std::stop_token stop) override {
    return cache_->SendAhead(terms, layer, std::move(stop));
  }
  Status Export(const Offer& offer, const OnProgress& on_progress, std::stop_token stop) override;
  Traffic traffic() override;
  std::vector<std::string> TakeNotices() override;

 private:
  struct Opened {
    std::optional<PreviousImage> image;
    std::optional<Error> error;
  };
  struct State {
    bool asked = false;
    std::optional<Error> no_cache;                                     // what the cache said when it was asked
    std::map<std::string, Opened> images;                              // by platform
    std::map<DiffId, std::pair<oci::Descriptor, ImagePlace*>> layers;  // of all of them
    std::map<Digest, ImagePlace*> blobs;
    Traffic traffic;
  };
  Opened OpenImage(State& state, const oci::Platform& platform, std::stop_token stop);

  const std::unique_ptr<Tier> cache_;
  const std::unique_ptr<ImagePlace> in_registry_;
  const std::vector<std::unique_ptr<ImagePlace>> elsewhere_;
  Guarded<State> state_;
};

}  // namespace varve::tier
