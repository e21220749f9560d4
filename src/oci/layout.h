// The documents of an OCI image layout (image-spec image-layout.md), as values and text. Files and
// archives are read and written by the callers.
//
//   oci-layout          {"imageLayoutVersion":"1.0.0"}
//   index.json          an index; one entry per name
//   blobs/sha256/<hex>  everything else
//
// Names are annotations of the entries in index.json: containerd's io.containerd.image.name holds
// the whole reference, org.opencontainers.image.ref.name only the tag (some tools write the whole
// reference there, so both are read in both places).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "oci/manifest.h"
#include "oci/reference.h"

namespace varve::oci {

inline constexpr std::string_view kLayoutFile = "oci-layout";
inline constexpr std::string_view kLayoutIndexFile = "index.json";
inline constexpr std::string_view kAnnotationRefName = "org.opencontainers.image.ref.name";
inline constexpr std::string_view kAnnotationImageName = "io.containerd.image.name";
inline constexpr std::string_view kAnnotationCreated = "org.opencontainers.image.created";

std::string LayoutFileText();
// kInvalid when this is no image layout, or one of a version that varve does not read.
Status CheckLayoutFile(std::string_view text);

std::string LayoutBlobPath(const Digest& digest);  // "blobs/sha256/<hex>"

// A layout's index.json; it may lack mediaType, and have no manifests.
Result<Index> ParseLayoutIndex(std::string_view text);
std::string SerialiseLayoutIndex(const Index& index);  // compact (reference exporters.md §4)

// The entry for `descriptor` under `name`, with the annotations above.
Descriptor NamedInLayout(Descriptor descriptor, const Reference& name, std::optional<Timestamp> created);

// Adds an entry. An older one of the same name goes; so does one of the same digest and no name.
void PutInLayout(Index& index, Descriptor descriptor);

// The entry that `wanted` names: a digest, a whole reference, a tag; empty: the only entry.
// kNotFound with the names that exist, kInvalid when several fit.
Result<Descriptor> FindInLayout(const Index& index, std::string_view wanted);

}  // namespace varve::oci
