// What stages start from: base images, contexts, scratch; and the ONBUILD triggers that come with
// them.
#pragma once

#include "dockerfile/stage_state.h"

namespace varve::dockerfile {

// Finds the bases of everything that `target` needs (of all stages with LowerOptions::all_stages):
// image configs in parallel, each once. Triggers become commands of the stage, in front of its own,
// and may need further stages, so this repeats until nothing new is needed. Returns what is needed.
Result<std::set<StageState*>> ResolveBases(Lowering& lowering, StageState* target);

}  // namespace varve::dockerfile
