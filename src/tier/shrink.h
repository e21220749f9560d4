// Making one group of several, and a group smaller: pure functions.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "base/clock.h"
#include "tier/group.h"

namespace varve::tier {

// What the blobs of the groups take, each counted once.
uint64_t BytesOf(const std::vector<Group>& groups);
uint64_t BytesOfMounts(const std::vector<Group>& groups);

// Everything that the groups hold; of a key's records, and of a cache mount's contents, the newest, of
// those that are signed the newest of each signer: whoever trusts him alone must not lose it to a newer one.
// Of disowned keys those that some record has.
Group MergeGroups(const std::vector<Group>& groups);

// Drops the records for which `drop` holds, and the layers and tree packs that no other record needs.
void DropRecords(Group& group, const std::function<bool(const cache::StepRecord&)>& drop);

// Drops the layers, mounts and tree packs that need one of these blobs. The records stay: keys can be
// computed from them.
void DropBlobs(Group& group, const std::set<Digest>& blobs);

// Drops cache mounts, oldest first, that take more than half of `max_size`, then the layers that are
// worth least until what is left takes at most `max_size` bytes, the records
// on them, and tree packs without a record. Records of no stored layer stay: they are kilobytes.
// The layers of the steps in `kept`, what a build has just added, go only where they do not fit alone:
// a guess from one run's seconds must not throw out what was sent a moment ago. Where they leave less than half
// to the mounts, more of these go.
void Shrink(Group& group, uint64_t max_size, Timestamp now, const std::set<StepKey>& kept);

// Which of the layers that `added` would bring to the groups that are there are worth their bytes, where
// all take at most `max_size`. Those of `result` are left out only when they do not fit alone; the others,
// which mode=max has more than mode=min, when what would have to go for them is worth more, or is the
// layer of a step in `kept`.
std::set<DiffId> WorthSending(const std::vector<Group>& there, const Group& added, const std::set<DiffId>& result,
                              const std::set<StepKey>& kept, uint64_t max_size, Timestamp now);

}  // namespace varve::tier
