// --call and --check of several targets: one answer after the other.
#pragma once

#include "bake/selection.h"
#include "cli/joined_build.h"

namespace varve::cli {

// Reads and lowers what the answers need, and builds nothing. `call`: of the command line, whose format
// counts for all; "build" when only targets ask. Returns the worst exit code.
int CallJoined(JoinedRequest request, const bake::Selection& selection, const job::CallFlag& call,
               const job::GlobalFlags& global);

}  // namespace varve::cli
