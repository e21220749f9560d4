// Copying the content of a file as cheaply as the file systems allow.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace varve::sys {

enum class CopyMethod { kReflink, kCopyRange, kReadWrite };

// Replaces the content of the empty regular file `out_fd` by that of `in_fd`, holes included:
// FICLONE (shares the blocks), else copy_file_range per data segment, else read and write.
// Positions of both descriptors are unused and undefined afterwards. Returns what did the work.
Result<CopyMethod> CopyFileContents(int in_fd, int out_fd);

}  // namespace varve::sys
