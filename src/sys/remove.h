// Removing trees that varve owns, whatever a build left in them.
#pragma once

#include <string>

#include "base/result.h"

namespace varve::sys {

// rm -rf of a trusted path. Works on descriptors: a symlink is removed, never followed. Directories
// without permission bits are made accessible first (matters when not root). Does not enter other
// mounts: one below `path` makes the call fail with kInvalid, and its content stays. Absent is
// fine.
Status RemoveAll(const std::string& path);

// The same for the entry `name` of an open directory.
Status RemoveAllAt(int dir_fd, const std::string& name);

}  // namespace varve::sys
