// Where a tier keeps its bytes: blobs by digest, and one list of record groups that exporters share.
//
// A storage moves bytes and merges the list; what the bytes mean is group.h's, what to send and what to
// drop is packed_tier.h's. A directory and a registry are storages; any store of keys and bytes can be
// one: Put and Get under the digest, the list as one entry per group, so that two writers never write
// the same entry.
//
// All methods block and are safe from any thread. Errors: kNotFound (a blob that is not there; a place
// that does not exist is an empty list instead), kInvalid (access denied, or the place holds something
// else), kUnavailable, kCorrupt, kCancelled.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "oci/descriptor.h"

namespace varve::tier {

// Opens a blob's content at an offset; an upload that goes on after a failure calls it again.
using OpenAt = std::function<Result<std::unique_ptr<Reader>>(uint64_t offset)>;

// An entry of the list: an OCI image manifest that keeps the group's blobs alive where a registry
// collects garbage, and its config blob, which readers fetch without the manifest.
struct GroupEntry {
  oci::Descriptor manifest;
  oci::Descriptor records;
  bool operator==(const GroupEntry&) const = default;
};

// What becomes of a blob that is there already: it is not sent, or it is, since its bytes were found to be
// wrong. (A registry that keeps what it has, as docker-registry does, stays as it is.)
enum class IfThere { kKeep, kReplace };

struct Freed {
  enum class How {
    kNow,
    kCollected,  // by the place, when it collects garbage: what kept the blobs was deleted
    kNever,      // the place does not delete when it is told to
  };
  How how = How::kNow;
  size_t count = 0;    // of blobs, or of manifests that kept them
  uint64_t bytes = 0;  // of blobs that were removed
};

class BlobStorage {
 public:
  virtual ~BlobStorage() = default;
  // The groups that are there. One request.
  virtual Result<std::vector<GroupEntry>> List(std::stop_token stop) = 0;
  // Adds a group, whose blobs were Put, and takes away those whose manifests `old` names. What others
  // added or took away meanwhile stays so: nothing that is not named here is lost.
  virtual Status Replace(const GroupEntry& added, const std::string& manifest_text, const std::vector<Digest>& old,
                         std::stop_token stop) = 0;
  // Whether the blob is there. Asked by exporters that are about to name it in a new group: it is not
  // collected within the next hour.
  virtual Result<bool> Has(const oci::Descriptor& blob, std::stop_token stop) = 0;
  // The content as it lies there: the caller verifies.
  virtual Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) = 0;
  // The bytes from `offset` on, fewer than `size` where the blob is shorter. Asked only where HasParts.
  virtual bool HasParts() const { return false; }
  virtual Status GetPart(const oci::Descriptor& blob, uint64_t offset, uint64_t size, Writer& out,
                         std::stop_token stop) {
    (void)offset, (void)size, (void)out, (void)stop;
    return Internal("{} is not to be had in parts here", blob.digest.ToString());
  }
  // Whether Put keeps `open` until the Replace that follows, to send many blobs in few requests: what is given
  // to such a storage should not be in memory.
  virtual bool KeepsUntilReplace() const { return false; }
  // True: it was sent, or it is with that Replace.
  virtual Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there, std::stop_token stop) = 0;
  // Sends a blob that a later Replace will name. As Put does, a storage may keep `open`, to send it with others that
  // come by and by, or with that Replace; kept_ahead are the bytes of those. False: it is there.
  virtual uint64_t kept_ahead() { return 0; }
  virtual Result<bool> PutAhead(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there,
                                std::stop_token stop) {
    return Put(blob, open, if_there, std::move(stop));
  }
  // After a Replace, whose `old` groups led to these blobs: removes at once those that no list of the place
  // names any more. Without it they go with a later export, when nobody can be about to name them again; so
  // this is for people who want the space now, and a record of an export that runs meanwhile may miss a
  // blob, which is a miss of its step.
  virtual Result<Freed> Free(const std::vector<oci::Descriptor>& blobs, std::stop_token stop) {
    (void)blobs, (void)stop;
    return Freed{.how = Freed::How::kNever};
  }
  // Requests so far, where they are not one for each of the calls above.
  virtual std::optional<uint64_t> requests() { return std::nullopt; }
};

// The document behind the list: an OCI image index with one entry per group (doc/formats.md).
inline constexpr std::string_view kArtifactType = "application/vnd.varve.cache.v1";

// kInvalid when the text is not such an index.
Result<std::vector<GroupEntry>> ParseGroupIndex(std::string_view text);
std::string SerialiseGroupIndex(const std::vector<GroupEntry>& groups, oci::Annotations annotations = {});
// What a list has let go of and not removed yet, and since when (Unix seconds), in an annotation of
// the index: "<hex>:<seconds>", separated by blanks.
using Dropped = std::map<Digest, int64_t>;
Dropped DroppedOf(const oci::Annotations& annotations);
void SetDropped(oci::Annotations& annotations, const Dropped& dropped);
// What is younger may be about to be named, or be read by somebody who has an earlier list.
inline constexpr int64_t kDroppedGraceSeconds = 3600;

// `groups` without those in `old`, and with `added`, once.
std::vector<GroupEntry> Merged(std::vector<GroupEntry> groups, const GroupEntry& added, const std::vector<Digest>& old);

}  // namespace varve::tier
