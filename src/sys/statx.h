// statx(2) with the fields that layers and stat caches need.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"

namespace varve::sys {

struct FileStat {
  mode_t mode = 0;  // type and permission bits
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t size = 0;
  uint64_t blocks = 0;  // of 512 bytes
  uint64_t inode = 0;
  uint32_t links = 0;
  dev_t device = 0;  // the file system it is on
  dev_t rdev = 0;    // for device nodes
  uint64_t mount_id = 0;
  Timestamp mtime, ctime;
  std::optional<Timestamp> btime;

  bool IsDirectory() const { return (mode & 0170000) == 0040000; }
  bool IsRegular() const { return (mode & 0170000) == 0100000; }
  bool IsSymlink() const { return (mode & 0170000) == 0120000; }
};

// Does not follow a symlink in the last part. An empty name stats the descriptor itself.
Result<FileStat> Statx(int dir_fd, const std::string& name);
Result<FileStat> Statx(const std::string& path);

}  // namespace varve::sys
