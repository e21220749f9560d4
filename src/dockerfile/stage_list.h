// The stages of a file and how they hang together: before any of them is lowered.
#pragma once

#include <set>

#include "dockerfile/stage_state.h"

namespace varve::dockerfile {

// Expands FROM lines and makes one StageState for each stage.
Status CollectStages(Lowering& lowering);

// The stage that the options ask for. kNotFound with a suggestion.
Result<StageState*> FindTarget(Lowering& lowering);

// Turns instructions into commands and finds the stages that they take files from. kInvalid for a
// cycle.
Status LinkCommands(Lowering& lowering);

// Adds the sources of `command`, which is about to become one of `stage`.
Status LinkCommand(Lowering& lowering, StageState& stage, Command& command);

// `target` and what it needs.
std::set<StageState*> Reachable(StageState* target);

// The same check as BuildKit's InvalidDefaultArgInFrom: would the base names be valid if nobody
// passed a build argument?
void CheckDefaultArgs(Lowering& lowering, const Variables& automatic);

}  // namespace varve::dockerfile
