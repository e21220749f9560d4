// Mount points that an image lacks: made before a step, removed after it, so that they never become
// part of its layer.
#pragma once

#include <ctime>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/rel_path.h"
#include "base/result.h"

namespace varve::sandbox {

class MountPoints {
 public:
  // `root_fd` is borrowed for the lifetime of this object.
  explicit MountPoints(int root_fd) : root_fd_(root_fd) {}
  MountPoints(const MountPoints&) = delete;
  MountPoints& operator=(const MountPoints&) = delete;
  ~MountPoints();  // Remove(), logging a failure

  // Makes the directory or empty file at `path`, with missing parents (0755, ours). Symlinks are
  // followed inside the root, dangling ones included, just as the runtime will do.
  Status Ensure(const RelPath& path, bool directory);

  // Removes what Ensure made, innermost first, as far as it is still empty: what the step has put
  // there stays. Puts back the times of the directories they were in, unless the step changed those
  // as well.
  Status Remove();

  // The existing directories in which something was made.
  std::vector<RelPath> Parents() const;

 private:
  struct Touched {
    RelPath path;
    timespec access_time, before, after;  // before and after: mtime around our change
  };
  Status Remember(const RelPath& parent, const timespec times[2]);

  int root_fd_;
  std::vector<RelPath> created_;  // outermost first
  std::vector<Touched> touched_;
};

}  // namespace varve::sandbox
