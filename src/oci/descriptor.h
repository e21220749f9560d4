// Descriptors and media types (image-spec descriptor.md, media-types.md; Docker's equivalents).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "oci/platform.h"

namespace varve::oci {

inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerList = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kDockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd";
// Layers that a registry may not hold; their urls say where they are.
inline constexpr std::string_view kOciForeignLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar";
inline constexpr std::string_view kDockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar";
inline constexpr std::string_view kOciEmpty = "application/vnd.oci.empty.v1+json";  // "{}"
inline constexpr std::string_view kBuildkitCacheConfig = "application/vnd.buildkit.cacheconfig.v0";
inline constexpr std::string_view kInToto = "application/vnd.in-toto+json";
inline constexpr std::string_view kAttestationManifest = "application/vnd.docker.attestation.manifest.v1+json";

bool IsManifest(std::string_view media_type);
bool IsIndex(std::string_view media_type);
bool IsLayer(std::string_view media_type);
bool IsForeignLayer(std::string_view media_type);  // nondistributable

using Annotations = std::vector<std::pair<std::string, std::string>>;  // sorted by key when written

// Of a blob whose digest alone is known; only where that is said.
inline constexpr uint64_t kUnknownSize = UINT64_MAX;

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  std::vector<std::string> urls = {};
  Annotations annotations = {};
  std::optional<Platform> platform = {};
  std::string artifact_type = {};
  std::string data = {};  // the content itself, raw, when the descriptor embeds it

  const std::string* Annotation(std::string_view key) const;
  bool operator==(const Descriptor&) const = default;
};

Json ToJson(const Descriptor& descriptor);  // Go's struct order, empty members left out
// kInvalid for a missing or foreign digest, a negative size, or one beyond 2^50, or embedded data
// that is not what digest and size say.
Result<Descriptor> DescriptorFromJson(const Json& json);

Json ToJson(const Annotations& annotations);        // sorted
Annotations AnnotationsFromJson(const Json* json);  // sorted; what is no string is left out

}  // namespace varve::oci
