// Making a root smaller: by hand (`varve prune`), by policy after builds, and all at once
// (`varve clear`). What went is added to <root>/collections.log, one JSON object a line:
//   {"time","rule","type","id","description","bytes"}
// Beyond 4 MiB the file becomes collections.log.1, and the one before that goes.
//
// What goes first, when there is a limit, is what saves the fewest seconds per byte
// (cache/retention.h). Nothing goes that a running build has leased or made, nor what a named image
// needs. Step records and trees stay when layers go, unless the policy is for `all`: they are
// small, and later keys are computed from them.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "upkeep/inventory.h"
#include "upkeep/policy.h"

namespace varve::upkeep {

struct Pruned {
  std::vector<UsageRow> rows;      // what went, in order
  std::vector<std::string> rules;  // why, one a row
  uint64_t bytes = 0;              // the sum of the rows, and of records and trees
  size_t records = 0;              // that went
  size_t spared = 0;               // chosen, but in use by the time
};

// Which rows a policy gives up, in order; indexes into inventory.rows. A pure function.
struct PrunePlan {
  std::vector<uint32_t> rows;
  bool records = false;  // `all`: records that nothing holds go too
};
PrunePlan PlanPrune(const Inventory& inventory, const Policy& policy, uint64_t free, Timestamp now);

Result<Pruned> Prune(const Stores& stores, const Policy& policy, std::stop_token stop);

// The policies one after the other, as far as they find the root too large. Cheap when it is not:
// then nothing is measured that has been measured before.
Result<Pruned> CollectByPolicy(const Stores& stores, const PolicyFile& file, std::stop_token stop);

// Whether a collection could find something to do: estimated from what is known without measuring.
Result<bool> MayNeedCollection(const Stores& stores, const PolicyFile& file);

// What could make a build warm.
struct ClearOptions {
  bool images = false;  // named images too
};
Result<Pruned> Clear(const Stores& stores, const ClearOptions& options, std::stop_token stop);

}  // namespace varve::upkeep
