// What processes that were killed left in a root. (Drafts of blobs and layers in staging are not
// here: opening the stores removes those.)
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace varve::upkeep {

// Paths below tmp and locks, mounts that were being removed, what was being written in the root itself,
// and, if `thorough` or when a killed job is found, files that were being written beside records and
// images, and databases that were moved aside. Nothing that a
// living process may have: while a build runs, its scratch directories cannot be told from others',
// and none is named. `mine` is no leftover.
struct LeftoverOptions {
  bool thorough = false;
  bool wait = true;  // for a collection or a beginning build; else nothing is found then
  std::string mine = {};
};
Result<std::vector<std::string>> FindLeftovers(const std::string& root, const LeftoverOptions& options);

// Removes them. Without `thorough` it costs a lock and five directory listings, some 70 µs.
Status RemoveLeftovers(const std::string& root, const LeftoverOptions& options);

}  // namespace varve::upkeep
