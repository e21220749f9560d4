// Looking into the storage of a tier, and changing it, for people: what there is, whether it is whole,
// copies of it, less of it. Builds go through Tier instead.
//
// All functions block. Errors are the storage's.
#pragma once

#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/byte_progress.h"
#include "base/clock.h"
#include "tier/group.h"
#include "tier/storage.h"

namespace varve::tier {

struct DamagedGroup {
  Digest manifest;
  std::string why;
};

struct StoredGroups {
  std::vector<GroupEntry> entries;  // as `groups`
  std::vector<Group> groups;
  std::vector<DamagedGroup> damaged;  // that no build reads either

  Group Merged() const;
  std::vector<Digest> Manifests() const;       // of all, the damaged ones too
  std::vector<oci::Descriptor> Blobs() const;  // that they lead to, each once: records and manifests too
};

// One request for the list, one a group.
Result<StoredGroups> ReadGroups(BlobStorage& storage, std::stop_token stop);

// Every blob that the group needs, once.
std::vector<oci::Descriptor> BlobsOf(const Group& group);

struct BlobDamage {
  oci::Descriptor blob;
  std::string why;               // "it is gone", "it has the digest sha256:…"
  std::set<std::string> needed;  // by: names of steps, whose layer it is of, and cache mounts
};

// Fetches and hashes every blob of the group.
Result<std::vector<BlobDamage>> CheckBlobs(BlobStorage& storage, const Group& group, const OnProgress& on_progress,
                                           std::stop_token stop);

struct Copied {
  size_t records = 0, blobs = 0, there = 0;  // blobs that were sent, and that were there already
  uint64_t bytes = 0;
  std::vector<BlobDamage> left_out;  // could not be read: their records go without them
};

// Everything of `from`, with its signatures, as one group more of `to`. Blobs pass through files of the
// directory `scratch`, verified.
Result<Copied> CopyGroups(BlobStorage& from, BlobStorage& to, const std::string& scratch, const OnProgress& on_progress,
                          std::stop_token stop);

struct PruneLimits {
  std::optional<uint64_t> max_size;     // bytes of blobs: what is worth least goes (Shrink)
  std::optional<Timestamp> older_than;  // records made before then go, with the layers of theirs alone, and
                                        // contents of cache mounts
};
void PruneGroup(Group& group, const PruneLimits& limits, Timestamp now);

}  // namespace varve::tier
