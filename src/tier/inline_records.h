// Records inside an image's config: what `--cache-to type=inline` writes.
//
//   config["dev.varve.cache.v1"] = base64 of
//     {"records": [{"key": "sha256:…", "layers": 3} | {"key": "sha256:…", "chain": [0, 4]}, …]}
//
// `layers`: the result is the image's first so many layers; `chain`: these of them, by position. Records
// are in the order of their keys, and hold nothing that differs between two builds that give the same
// image: the image is as reproducible with them as without.
//
// This is not BuildKit's `moby.buildkit.cache.v0` (reference cache.md §3): that names steps by the digests
// that BuildKit gives them, which nobody else can compute. A later form gets another name.
#pragma once

#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "oci/image_config.h"

namespace varve::tier {

inline constexpr std::string_view kInlineRecords = "dev.varve.cache.v1";

struct InlineRecord {
  StepKey key;
  std::vector<size_t> layers;  // of the result, lowest first, as positions in the image
  bool operator==(const InlineRecord&) const = default;
};

void SetInlineRecords(oci::ImageConfig& config, std::vector<InlineRecord> records);
// None is empty; kCorrupt for what cannot be read, or names layers that the image does not have.
Result<std::vector<InlineRecord>> GetInlineRecords(const oci::ImageConfig& config);

}  // namespace varve::tier
