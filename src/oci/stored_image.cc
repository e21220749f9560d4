#include "oci/stored_image.h"

#include <algorithm>
#include <set>

namespace varve::oci {

namespace {

// BuildKit marks what it attests with this annotation, and the platform unknown/unknown.
constexpr std::string_view kReferenceType = "vnd.docker.reference.type";

Result<StoredImage::Variant> ReadVariant(const Digest& digest, std::string_view text, const GetBlob& get) {
  StoredImage::Variant variant{.platform = {}, .manifest_digest = digest, .manifest = {}, .config = {}};
  TRY_ASSIGN(variant.manifest, ParseManifest(text));
  TRY_ASSIGN(const std::string config, get(variant.manifest.config.digest));
  TRY_ASSIGN(variant.config, ImageConfig::Parse(config));
  variant.platform = variant.config.platform();
  return variant;
}

}  // namespace

uint64_t StoredImage::Size() const {
  std::set<Digest> seen;
  uint64_t bytes = 0;
  auto add = [&](const Descriptor& blob) {
    if (blob.size != kUnknownSize && seen.insert(blob.digest).second) bytes += blob.size;
  };
  for (const Variant& variant : variants) {
    add(variant.manifest.config);
    std::ranges::for_each(variant.manifest.layers, add);
  }
  return bytes;
}

Result<StoredImage> ReadStoredImage(const Digest& digest, const GetBlob& get) {
  TRY_ASSIGN(const std::string text, get(digest));
  TRY_ASSIGN(const Json document, Json::Parse(text));
  StoredImage image{.digest = digest, .media_type = document.GetString("mediaType"), .variants = {}};
  if (KindOf(document) != DocumentKind::kIndex) {
    TRY_ASSIGN(auto variant, ReadVariant(digest, text, get));
    image.variants.push_back(std::move(variant));
    return image;
  }
  TRY_ASSIGN(const Index index, ParseIndex(text));
  for (const Descriptor& entry : index.manifests) {
    if (entry.Annotation(kReferenceType) != nullptr) {
      ++image.attestations;
      continue;
    }
    TRY_ASSIGN(const std::string manifest, get(entry.digest));
    TRY_ASSIGN(auto variant, ReadVariant(entry.digest, manifest, get));
    if (entry.platform) variant.platform = *entry.platform;
    image.variants.push_back(std::move(variant));
  }
  return image;
}

}  // namespace varve::oci
