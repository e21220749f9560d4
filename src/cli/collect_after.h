// What follows a build: leases end, leftovers go, and the root is kept within its budget.
#pragma once

#include <stop_token>

#include "cli/workspace.h"

namespace varve::cli {

// Gives the build's leases back, and removes what killed processes left (upkeep/leftovers.h). No
// step may run afterwards.
void EndBuild(Workspace& workspace);

// After EndBuild, of a build that stored something: removes what the policy gives up
// (upkeep/policy.h). Says what
// went in one line on stderr unless `quiet`; a collection that fails is a warning, never a failed
// build. Nothing may use the workspace afterwards.
void CollectAfterBuild(Workspace& workspace, bool quiet, std::stop_token stop);

}  // namespace varve::cli
