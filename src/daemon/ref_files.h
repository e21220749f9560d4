// The files of a result, for front ends that look into what they have built (LLBBridge.ReadFile, ReadDir,
// StatFile). Links are followed as a chroot would, and never lead out of the result.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "api/fsutil.pb.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"
#include "job/workspace.h"
#include "snapshot/rootfs_mount.h"
#include "sys/tempdir.h"

namespace varve::daemon {

class RefFiles {
 public:
  // The layers are on this machine and leased.
  static Result<RefFiles> Open(const std::vector<DiffId>& layers, job::Workspace& workspace);

  // A directory that something else keeps, and may change.
  static Result<RefFiles> OpenDirectory(const std::string& path);

  // At most 16 MiB, which is what a message holds. `length` 0: to the end.
  Result<std::string> Read(const std::string& path, int64_t offset, int64_t length);
  // Sorted by name; `pattern`: names that match it, as a shell would; empty: all.
  Result<std::vector<fsutil::types::Stat>> List(const std::string& path, const std::string& pattern);
  // Of what a link leads to.
  Result<fsutil::types::Stat> Stat(const std::string& path);

 private:
  RefFiles() = default;
  sys::TempDir mount_point_;
  std::unique_ptr<snapshot::RootfsMount> mount_;
  Fd root_;
};

}  // namespace varve::daemon
