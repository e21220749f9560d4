// Image manifests and indexes of both families (image-spec manifest.md, image-index.md; Docker's
// "image manifest version 2, schema 2").
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/descriptor.h"

namespace varve::oci {

// Larger documents are refused, as registries refuse them.
inline constexpr uint64_t kMaxManifestSize = 4 << 20;

struct Manifest {
  std::string media_type{kOciManifest};
  std::string artifact_type = {};
  Descriptor config;
  std::vector<Descriptor> layers;
  std::optional<Descriptor> subject = {};
  Annotations annotations = {};
};

struct Index {
  std::string media_type{kOciIndex};
  std::string artifact_type = {};
  std::vector<Descriptor> manifests;
  Annotations annotations = {};

  // The manifest for a platform: the best match, the first of equals, one without a platform last;
  // null when none fits.
  // Attestations (platform unknown/unknown) never match.
  const Descriptor* Find(const Platform& platform) const;
};

// What a manifest document is; documents without mediaType are told by their members.
enum class DocumentKind { kManifest, kIndex, kUnknown };
DocumentKind KindOf(const Json& document);

Result<Manifest> ParseManifest(std::string_view text);
Result<Index> ParseIndex(std::string_view text);

// Two-space indented, schemaVersion and mediaType first, as Go writes them (reference exporters.md
// §4.2).
Json ToJson(const Manifest& manifest);
Json ToJson(const Index& index);
std::string Serialise(const Manifest& manifest);
std::string Serialise(const Index& index);

}  // namespace varve::oci
