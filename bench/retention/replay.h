// Replays a history of builds against a store of limited size, and counts the seconds that went
// into making again what had been made before.
//
// The store is the model of varve's: records stay, layers go. A step runs when its result is needed
// and a layer of it is missing; then it needs the results of the steps below it and of those whose
// files it reads, and so on. After each build the policy gives up layers until the rest fits.
#pragma once

#include <string>
#include <vector>

#include "bench/retention/history.h"

namespace varve::bench {

// All give up whole layers, those on top first.
enum class Policy {
  kVarve,     // cache::EvictionOrder, the function that collection uses
  kLru,       // the layer whose last use is longest ago
  kBuildKit,  // BuildKit's sortDeleteRecords: rank of the last use plus rank of the count of uses
};
inline constexpr Policy kPolicies[] = {Policy::kVarve, Policy::kLru, Policy::kBuildKit};
std::string NameOf(Policy policy);

struct Replayed {
  double rebuilt_seconds = 0;  // what an unlimited store would have spared
  double first_seconds = 0;    // spent in any case
  uint64_t unlimited_bytes = 0;
  size_t evictions = 0;
};

// Bytes of all results that the builds of a week need, in the mean: what a store would have to hold
// that forgets nothing for a week.
uint64_t WeeklyBytes(const History& history);

Replayed Replay(const History& history, Policy policy, uint64_t budget);

}  // namespace varve::bench
