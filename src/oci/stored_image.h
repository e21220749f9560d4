// An image whose documents lie in a blob store: its index or manifest, and the configs below.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "oci/image_config.h"
#include "oci/manifest.h"

namespace varve::oci {

struct StoredImage {
  struct Variant {
    Platform platform;  // as the index says it, else as the config does
    Digest manifest_digest;
    Manifest manifest;
    ImageConfig config;
  };
  Digest digest;  // of the index, or of the only manifest
  std::string media_type;
  std::vector<Variant> variants;  // in the index's order
  size_t attestations = 0;        // manifests of statements about them

  // Of every blob that the image names, once, as the manifests give it: a base layer as it was pulled, others as
  // tars.
  uint64_t Size() const;
};

// `get`: a blob's bytes; its errors are passed on. kInvalid for documents that are no image.
using GetBlob = std::function<Result<std::string>(const Digest& blob)>;
Result<StoredImage> ReadStoredImage(const Digest& digest, const GetBlob& get);

}  // namespace varve::oci
