// Layers on other file systems than the one that they were made on: merges and diffs.
//
// A layer says what it does to the layers below in terms of those: an opaque directory hides all that is there, whoever
// put it there, and what a step wrote again without a change is in it too. As a diff it is to say what differs. And
// overlayfs shows a whiteout as a file that cannot be opened, in a directory that no layer below has. So
//
//   a diff is the layers that the upper file system has above the lower one, as they are, but each that says more than
//   what it changes is made anew; where the upper one was not made on the lower one it is one new layer (diff_step.h);
//   a layer that hides more than it should is made anew where it is laid on something else;
//   a layer of the directories alone goes below one that removes from directories that are not there.
//
// In all other cases no byte moves (invariant I2).
#pragma once

#include <vector>

#include "exec/job.h"

namespace varve::exec {

// On the lower file system it gives the upper one (graph::Diff).
Result<cache::Rootfs> DiffInputs(const Job& job, const engine::RunInput& lower, const engine::RunInput& upper,
                                 std::stop_token stop);

// All inputs, one on the other (graph::Merge).
Result<cache::Rootfs> MergeInputs(const Job& job, const std::vector<engine::RunInput>& inputs, std::stop_token stop);

}  // namespace varve::exec
