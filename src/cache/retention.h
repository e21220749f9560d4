// Which layers to give up first: the policy behind every budget, as a pure function.
//
// A layer is worth the seconds that it is expected to save, and costs its bytes. Layers stack: one
// without those below it is of no use, and one that is given up takes all above it along. So what
// is given up is a block, a layer with everything that only makes sense on top of it, and the block
// with the fewest expected seconds per byte goes first. Blocks that are best for every budget at
// once exist, because the stacks of all results form a forest (see retention.cc).
//
// Expected seconds = seconds to make again × expected uses a day. How often a layer will be used is
// learnt from its own uses (how many, over how long, how long ago) and from its slot, the same step
// of the same Dockerfile: where every build makes a new result, an old one is not used again,
// however recent it is; where results are used for weeks, a pause of days says nothing.
//
//   RetentionInput input{…};
//   for (const Eviction& block : EvictionOrder(input)) { drop block.layers; if (enough) break; }
//
// Records are not weighed: they are kilobytes, and stay when their layers go. bench/retention
// replays build histories through this very function.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace varve::cache {

struct RetentionLayer {
  uint64_t bytes = 0;  // on the disk
  Timestamp created;
  Timestamp last_used;  // when its files were needed, not when a record that names it was looked up
  uint64_t uses = 0;    // since it was made
  bool held = false;    // must stay: leased, part of a named image, or spared by a filter
};

// What a step led to: indexes into RetentionInput::layers, lowest first, the whole stack.
struct RetentionResult {
  std::vector<uint32_t> layers;
  uint32_t slot = 0;  // the same number for the same step of the same file
  double seconds = 0;
};

struct RetentionInput {
  std::vector<RetentionLayer> layers;
  std::vector<RetentionResult> results;
  Timestamp now;
  // What a layer costs that no result accounts for: it came from a registry and can come again.
  double pull_bytes_per_second = 30e6;
};

struct Eviction {
  std::vector<uint32_t> layers;  // leave together; those on top first
  uint64_t bytes = 0;
  double seconds_per_day = 0;  // expected to be saved by keeping them
};

// Every layer that is not held, and is not below a held one, exactly once. Of equal blocks the one
// that was used longer ago goes first. Time: n log n in the sum of the stacks' lengths.
std::vector<Eviction> EvictionOrder(const RetentionInput& input);

// The estimate for one layer, by itself: uses a day to come. `slot_deaths` and `slot_uses`: of the
// layers of its slot, how many were replaced for good so far, and how often all were used again;
// `missed`: uses of others of its slot since its own last one.
struct UseHistory {
  double age_days = 0;   // since it was made
  double idle_days = 0;  // since its last use
  double uses = 0;
  double slot_deaths = 0;
  double slot_uses = 0;
  double missed = 0;
};
double ExpectedUsesPerDay(const UseHistory& history);

}  // namespace varve::cache
