// Collection: removes from a state root what a policy gives up and what nothing refers to any more.
//
//   Marking   starts from the records that stay, the image names, the base images' stacks and the
//             leases of live jobs; it follows layers, trees and the blobs that image manifests
//             name.
//   Sweeping  removes records first, then trees, layers and blobs that are not marked. It goes in
//             batches; before each one it takes the collection lock, reads the leases again, and
//             marks what records that came meanwhile refer to. What is younger than the oldest live
//             job or than the marking is spared (lease.h), so that a job's results are safe between
//             being made and being recorded.
//
// A collection may be killed at any moment and run by several processes at once. A record never
// outlives its layers by accident, only where the policy drops the layer itself: records are
// kilobytes and keep downstream keys computable.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cache/contents.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"

namespace varve::cache {

// Where the layers themselves are: implemented over snapshot::LayerStore by the caller, because
// this module may not know it.
class LayerData {
 public:
  virtual ~LayerData() = default;
  struct Entry {
    DiffId layer;
    uint64_t disk_bytes = 0;
    Timestamp made;
  };
  virtual Result<std::vector<Entry>> List() = 0;
  virtual Status Remove(const DiffId& layer) = 0;  // absent is fine
};

// What to give up. An answer is the name of the rule that says so, for logs and explanations;
// nothing keeps. Empty functions keep everything.
struct CollectionPolicy {
  std::function<std::optional<std::string>(const RecordUse&)> drop_record = {};
  // Asked for every layer that is not leased, those that a named image needs included.
  std::function<std::optional<std::string>(const LayerData::Entry&)> drop_layer = {};
  std::function<std::optional<std::string>(const ChainId&)> drop_chain = {};
  // Asked for blobs that are wanted only because a layer is available as them.
  std::function<std::optional<std::string>(const cas::BlobStat&)> drop_blob = {};
  // Whether what nothing refers to goes too. Without it only what the functions above name goes.
  bool sweep = true;
  // Blobs that are wanted for reasons that the store does not know.
  std::set<Digest> keep_blobs = {};
};

struct Removal {
  enum class Kind { kRecord, kTree, kLayer, kBlob, kChain };
  Kind kind;
  Digest digest;
  uint64_t bytes = 0;
  std::string rule;  // "nothing refers to it" when no policy asked for it
};

struct Collected {
  std::vector<Removal> removed;  // in order
  uint64_t bytes = 0;
  size_t spared = 0;  // not removed although nothing refers to it: leased, or too young
};

// Fails with the first thing that cannot be removed; what went before is gone. `clock` is the one
// that stamped the root's files.
Result<Collected> Collect(const std::string& root, LocalStore& store, cas::BlobStore& blobs, LayerData& layers,
                          const CollectionPolicy& policy, Clock& clock, std::stop_token stop = {});

}  // namespace varve::cache
