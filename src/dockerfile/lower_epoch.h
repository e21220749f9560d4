// SOURCE_DATE_EPOCH: a number, or the name of something whose time is meant (reference
// dockerfile.md §2.3).
#pragma once

#include "dockerfile/stage_state.h"

namespace varve::dockerfile {

// Reads the build argument, or the global ARG, and sets Lowering::epoch. Arguments that named
// something get the number that was found, or vanish when it has no time (a local context).
Status ResolveEpoch(Lowering& lowering);

}  // namespace varve::dockerfile
