// The rootfs where overlayfs cannot be mounted: the layers copied together, and afterwards compared
// with what was copied.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "snapshot/rootfs_mount.h"

namespace varve::snapshot {

// `lowers`: directories in overlay form, topmost first. `target` is made. `upper` null: the copy is
// only read.
Result<std::unique_ptr<RootfsMount>> CopyRootfs(const std::vector<std::string>& lowers, const std::string* upper,
                                                const std::string& target);

}  // namespace varve::snapshot
