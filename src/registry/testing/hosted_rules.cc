#include "registry/testing/hosted_rules.h"

#include <set>

#include "base/json.h"
#include "oci/manifest.h"

namespace varve::registry::testing {

namespace {

// Of a manifest, and of what may be pulled again: distribution-spec, "Pushing Manifests", asks for at least this
// much; distribution serves no more (distribution/distribution#4636).
constexpr size_t kLargest = 4 << 20;
// ECR's, measured by others; it is in no document (nuonco/nuon#2348, spinframework/spin#1787).
constexpr size_t kMostLayers = 500;

HostedRefusal Invalid(std::string rule) { return {.code = "MANIFEST_INVALID", .rule = std::move(rule)}; }

}  // namespace

std::optional<HostedRefusal> RefusedByHosts(const std::string& media_type, const std::string& text,
                                            const std::function<bool(const Digest&)>& has_blob,
                                            const std::function<bool(const Digest&)>& has_manifest) {
  if (text.size() > kLargest) return HostedRefusal{413, "SIZE_INVALID", "larger than 4 MiB"};
  auto json = Json::Parse(text);
  if (!json) return Invalid("no JSON");
  if (json->GetString("mediaType") != media_type) return Invalid("image-spec: mediaType is not the Content-Type");
  if (media_type == oci::kOciIndex) {
    auto index = oci::ParseIndex(text);
    if (!index) return Invalid("no index");
    std::set<Digest> seen;
    for (const oci::Descriptor& child : index->manifests) {
      // moby/buildkit#1143 and #1440, which is why its cache became an image manifest.
      if (child.media_type != oci::kOciManifest && child.media_type != oci::kOciIndex) {
        return Invalid("Google, Quay: an index that names something else than manifests");
      }
      if (!seen.insert(child.digest).second) return Invalid("Harbor: a manifest twice (goharbor/harbor#16718)");
      if (!has_manifest(child.digest))
        return HostedRefusal{404, "MANIFEST_UNKNOWN", "all: a manifest that is not there"};
    }
    // Quay's schema of what an index says of a manifest.
    for (const Json& child : json->GetArray("manifests")) {
      const Json* platform = child.Find("platform");
      if (platform != nullptr && (platform->GetString("os").empty() || platform->GetString("architecture").empty())) {
        return Invalid("Quay: a platform without an operating system or an architecture");
      }
    }
    return {};
  }
  if (media_type != oci::kOciManifest) return Invalid("ECR: a media type that it does not know");
  auto manifest = oci::ParseManifest(text);
  if (!manifest) return Invalid("no manifest");
  if (manifest->layers.empty()) return Invalid("ECR: no layer (werf/werf#2558); image-spec: there should be one");
  if (manifest->layers.size() > kMostLayers) {
    return HostedRefusal{405, "UNSUPPORTED", "ECR: Limit on number of layers per image exceeded"};
  }
  if (!has_blob(manifest->config.digest)) return HostedRefusal{404, "BLOB_UNKNOWN", "all: a config that is not there"};
  for (const oci::Descriptor& layer : manifest->layers) {
    if (!has_blob(layer.digest)) return HostedRefusal{404, "BLOB_UNKNOWN", "all: a layer that is not there"};
  }
  return {};
}

}  // namespace varve::registry::testing
