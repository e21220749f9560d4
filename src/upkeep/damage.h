// What is damaged in a store and in nobody's use goes, and the steps that need it run again.
#pragma once

#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "upkeep/inventory.h"

namespace varve::cache {
class JobLease;
}

namespace varve::upkeep {

// Removes layers, and notes `rule` with the records that name them. Those that a running build other
// than `except` (JobLease::id, or empty) has leased stay, and are returned.
Result<std::set<DiffId>> RemoveLayers(const Stores& stores, const std::set<DiffId>& layers, const std::string& rule,
                                      const std::string& except, std::stop_token stop);

// For a build that failed, and that damage of the store may have failed: looks over all layers that it
// uses and removes those that are not what they were made as. Returns what went, for the user:
// "layer sha256:…". Nothing of the build may be mounted any more. Reads all of it: a second a gigabyte.
// (Blobs that are damaged go when they are read: cas/blob_store.h.)
Result<std::vector<std::string>> DropDamaged(const Stores& stores, cache::JobLease& mine, std::stop_token stop);

}  // namespace varve::upkeep
