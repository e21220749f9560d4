// Records inside an image's config: what `--cache-to type=inline` writes.
//
//   config["dev.varve.cache.v1"] = base64 of
//     {"records": [{"key": "sha256:…", "layers": 3} | {"key": "sha256:…", "chain": [0, 4]}, …],
//      "several": [{"key": "sha256:…", "layers": 3, "besides": {"1": "sha256:…", …}}, …],
//      "seen": [{"key": "sha256:…", "outputs": ["sha256:…", …]}, …],
//      "trees": base64 of a tree pack (group.h)}
//
// `layers`: the result is the image's first so many layers; `chain`: these of them, by position. `several` are records
// of steps with several outputs, of which the one that is not among `besides` is in the image: of the others that has
// the trees, by their numbers. Apart, since readers that do not know them take a record's layers for all that a step
// gave. Absent where there are none. Records are in the order of their keys, and hold nothing that differs between two
// builds that give the same image: the image is as reproducible with them as without.
//
// `seen`, `trees`: the trees of steps of other stages that the image's own have copied from, and of those trees what
// was looked at. Nobody has their layers, but without the trees the keys of the copies could not be computed. With them
// the image is as reproducible as those stages are. Absent where there are none.
//
// This is not BuildKit's `moby.buildkit.cache.v0` (reference cache.md §3): that names steps by the digests
// that BuildKit gives them, which nobody else can compute. A later form gets another name.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "cache/step_record.h"
#include "oci/image_config.h"
#include "tier/group.h"

namespace varve::tier {

inline constexpr std::string_view kInlineRecords = "dev.varve.cache.v1";

struct InlineRecord {
  StepKey key;
  std::vector<size_t> layers;             // of the result, lowest first, as positions in the image
  std::map<size_t, Digest> besides = {};  // trees of the other outputs, by number; with `layers` there is none left out
  bool operator==(const InlineRecord&) const = default;
};

struct SeenSteps {
  struct Record {
    StepKey key;
    std::vector<Digest> outputs;  // their trees
  };
  std::vector<Record> records;
  TreeObjects objects;
};

// A result of which the tree alone is known, on a layer that is nowhere to be had; the empty tree needs none.
cache::Rootfs Unkept(const Digest& tree_root);
DiffId UnkeptLayer(const Digest& tree_root);
bool IsUnkept(const cache::Rootfs& rootfs);

Status SetInlineRecords(oci::ImageConfig& config, std::vector<InlineRecord> records, SeenSteps seen = {});
// None is empty; kCorrupt for what cannot be read, or names layers that the image does not have.
Result<std::vector<InlineRecord>> GetInlineRecords(const oci::ImageConfig& config);
Result<SeenSteps> GetSeenSteps(const oci::ImageConfig& config);

}  // namespace varve::tier
