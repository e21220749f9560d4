// A tier over a storage: record groups (group.h) in a list (storage.h).
//
// The first question loads the list and the records of all groups, two round trips however many steps
// there are; everything after that is answered from memory, except trees, which are fetched when a hit's
// tree is asked for that this machine does not have.
//
// An export adds one group with what was new. Small groups are merged into one when there are more than
// kMaxGroups, so that loading stays two rounds of few requests. Where `max_size` is exceeded the least
// valuable layers go, with the records on them (cache/retention.h).
#pragma once

#include <memory>

#include "base/clock.h"
#include "tier/chunked.h"
#include "tier/signing.h"
#include "tier/storage.h"
#include "tier/tier.h"

namespace varve::tier {

inline constexpr size_t kMaxGroups = 12;
inline constexpr uint64_t kDefaultMaxSize = uint64_t{5} << 30;

struct PackedOptions {
  uint64_t max_size = kDefaultMaxSize;  // bytes of blobs; 0: no bound
  // The storage cannot take back what was sent, and drops by itself what was used longest ago. So layers
  // that are worth less than what would have to go for them are not sent at all, instead of going after;
  // and an export asks for the layers of what the build hit, and for its cache mounts, which counts as a use,
  // and sends those again that are gone. What is stored as chunks is weighed when it is packed, packs that
  // several layers need once.
  bool evicts_by_itself = false;
  LocalTars local = {};  // for layers and mounts that are stored as chunks
  // Reading: only records and layers that one of these keys has signed (trust=own).
  std::shared_ptr<const VerifyKeys> verify = nullptr;
  // Writing: what is added is signed. What others added counts as absent, and is sent and signed again:
  // nobody's word about which blob holds a layer is signed unseen.
  std::shared_ptr<const SigningKey> sign = nullptr;
};

std::unique_ptr<Tier> MakePackedTier(std::unique_ptr<BlobStorage> storage, PackedOptions options, Clock& clock);

}  // namespace varve::tier
