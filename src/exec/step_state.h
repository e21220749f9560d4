// Where steps keep what lives as long as a run: mount points, the OCI runtime's bundles and state.
//
// Fifteen small files and directories a step. On ext4 that is not cheap: an inode is not given out
// again for a minute after its deletion, or for six while it waits to be written, and each search for
// a free one passes all of those (fs/ext4/ialloc.c, recently_deleted). The hundredth step of a build
// paid 10 ms for them. So it is a tmpfs where this process may mount; its content is bounded by the
// size of a bundle, and a killed process takes it along with its mount namespace.
#pragma once

#include <string>

#include "base/guarded.h"
#include "base/result.h"
#include "sys/mounts.h"
#include "sys/tempdir.h"

namespace varve::exec {

// Safe from any thread.
class StepState {
 public:
  // `parent` must outlive it.
  explicit StepState(const sys::LazyTempDir& parent) : parent_(parent) {}

  // The directory, made at the first call: a build without a RUN needs none.
  Result<std::string> Directory();

 private:
  struct Made {
    std::string path;  // empty: not yet
    sys::Mount mount;
  };
  const sys::LazyTempDir& parent_;
  Guarded<Made> made_;
};

}  // namespace varve::exec
