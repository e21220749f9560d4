// Diff of two file systems of which neither was made on the other: one new layer that makes the lower one
// into the upper one. Where the upper one was made on the lower one, its own layers are the diff, and no
// byte moves (detached.h).
//
// What differs is what their trees say: a file of the same content, mode, owner and xattrs is in no diff,
// whatever its time.
#pragma once

#include "exec/job.h"

namespace varve::exec {

// The result stands alone: on the lower file system it gives the upper one (graph::Merge).
Result<cache::Rootfs> RunDiffStep(const Job& job, const engine::RunInput& lower, const engine::RunInput& upper,
                                  std::stop_token stop);

}  // namespace varve::exec
