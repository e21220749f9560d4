// Images on this machine as places of a tier::ImageTier: varve's own image store, and the store of a
// docker engine or of podman.
#pragma once

#include <memory>
#include <string>

#include "source/image.h"
#include "tier/image_tier.h"

namespace varve::job {

// What `varve build -t` keeps. Its layers are not fetched: they are here, or gone.
std::unique_ptr<tier::ImagePlace> MakeStorePlace(source::ImageStore& images, std::string reference);

// What `docker images` or `podman images` lists: read through `save`, into `scratch`, when it is asked
// for. `reference` is given to the tool as it is.
std::unique_ptr<tier::ImagePlace> MakeToolPlace(std::string reference, std::string scratch);

// The archive that `docker save` or `podman save` wrote: manifest.json, configs, and layers as tars or as
// blobs. kInvalid for what is no such archive.
class SavedImage {
 public:
  static Result<SavedImage> Open(const std::string& path);
  const tier::PreviousImage& image() const { return image_; }
  Status Fetch(const oci::Descriptor& blob, Writer& out) const;

 private:
  std::string path_;
  tier::PreviousImage image_;
  std::map<Digest, std::string> entries_;  // of blobs, by digest
};

}  // namespace varve::job
