// What follows a build: leases end, leftovers go, and the root is kept within its budget.
#pragma once

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <utility>

#include "job/workspace.h"

namespace varve::job {

// Gives the build's leases back, and removes what killed processes left (upkeep/leftovers.h). No
// step may run afterwards.
void EndBuild(Workspace& workspace);

// What a collection removed, by rule: how many things, and their bytes.
using Collected = std::map<std::string, std::pair<uint64_t, uint64_t>>;

// After EndBuild, of a build that stored something: removes what the policy gives up
// (upkeep/policy.h). Says what went in one line on stderr unless `quiet`; a collection that fails is a
// warning, never a failed build. Nothing may use the workspace afterwards.
Collected CollectAfterBuild(Workspace& workspace, bool quiet, std::stop_token stop);

}  // namespace varve::job
