// Whether this kernel hands on every question that is asked of a traced layer.
//
// What traced_layers.h relies on is how overlayfs and FUSE behave, not what they promise. So it is tried:
// a small traced layer below an overlay, of which a child process asks each kind of question once, and
// the notes must hold all of them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "tree/read_set.h"

namespace varve::trace {

// Tries it in `scratch`, a directory on the file system of the layers: some 5 ms. kInvalid: it cannot be
// mounted here; kInternal: a question was not noted. The message says which.
Status TestKernel(const std::string& scratch);

// The same, once for each boot and user: `root`/trace-test keeps that it went well, or which question was
// not noted. Safe from any thread.
Status KernelIsTested(const std::string& root, const std::string& scratch);

// Whether `asked` has all that TestKernel asks; `xattrs`: of an extended attribute, too.
Status CheckNotes(const std::vector<tree::Question>& asked, bool xattrs);

}  // namespace varve::trace
