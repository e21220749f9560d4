// The stack of layers as a copy, where overlayfs cannot be mounted.
//
// Every layer is copied into one directory (sharing blocks where the file system can: reflink). After
// the step, what differs from the stack's own state is moved into the draft's upper directory in
// overlay form. A file counts as unchanged while inode, size, mode, owner and ctime are as they were
// right after the copy; ctime cannot be set back by the step.
#pragma once

#include "snapshot/rootfs_mount.h"

namespace varve::snapshot {

Result<std::unique_ptr<RootfsMount>> CopyRootfs(LayerStore& layers, const std::vector<DiffId>& stack,
                                                LayerDraft* draft, const std::string& scratch);

}  // namespace varve::snapshot
