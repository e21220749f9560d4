// Making one group of several, and a group smaller: pure functions.
#pragma once

#include <vector>

#include "base/clock.h"
#include "tier/group.h"

namespace varve::tier {

// What the blobs of the groups take, each counted once.
uint64_t BytesOf(const std::vector<Group>& groups);

// Everything that the groups hold; of a key's records the newest.
Group MergeGroups(const std::vector<Group>& groups);

// Drops the layers that are worth least until what is left takes at most `max_size` bytes, the records
// on them, and tree packs without a record. Records of no stored layer stay: they are kilobytes.
void Shrink(Group& group, uint64_t max_size, Timestamp now);

}  // namespace varve::tier
