// Where steps keep what lives as long as a run: mount points, the OCI runtime's bundles and state.
//
// Fifteen small files and directories a step. On ext4 that is not cheap: an inode is not given out
// again for a minute after its deletion, or for six while it waits to be written, and each search for
// a free one passes all of those (fs/ext4/ialloc.c, recently_deleted). The hundredth step of a build
// paid 10 ms for them. So it is a tmpfs where this process may mount; its content is bounded by the
// size of a bundle, and a killed process takes it along with its mount namespace.
//
// There a runtime may be started for a step to come (sandbox/early_runtime.h): one waits at a time.
#pragma once

#include <memory>
#include <string>

#include "base/guarded.h"
#include "base/result.h"
#include "sys/mounts.h"
#include "sys/tempdir.h"

namespace varve::sandbox {
class EarlyRuntime;
}

namespace varve::exec {

// Safe from any thread.
class StepState {
 public:
  // `parent` must outlive it.
  explicit StepState(const sys::LazyTempDir& parent);
  ~StepState();

  // The directory, made at the first call: a build without a RUN needs none.
  Result<std::string> Directory();

  // A runtime for a process on a root file system that is mounted below Directory(); it sees no other mount that was
  // made since StartRuntime. The one that waits, else a new one; null where there cannot be one. Who calls StartRuntime
  // lives until the process has ended that the runtime is for: it dies with its thread.
  std::unique_ptr<sandbox::EarlyRuntime> TakeRuntime();
  void StartRuntime();

 private:
  struct Made {
    std::string path;  // empty: not yet
    sys::Mount mount;
    bool shared = false;
  };
  std::unique_ptr<sandbox::EarlyRuntime> NewRuntime();

  const sys::LazyTempDir& parent_;
  Guarded<Made> made_;
  Guarded<std::unique_ptr<sandbox::EarlyRuntime>> waiting_;
};

}  // namespace varve::exec
