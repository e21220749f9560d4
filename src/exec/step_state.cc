#include "exec/step_state.h"

#include "base/log.h"
#include "sys/namespace.h"
#include "sys/open.h"

namespace varve::exec {

Result<std::string> StepState::Directory() {
  auto made = made_.Lock();
  if (made->ready) return path_;
  TRY(sys::MkdirAll(path_, 0711));
  if (sys::CanMount()) {
    auto mount = sys::MountTmpfs(path_, 0, 0711, {.nosuid = true, .nodev = true});
    if (mount) {
      made->mount = std::move(*mount);
    } else {
      LOG_WARN("the state of steps is on disk: {}", mount.error().ToString());
    }
  }
  made->ready = true;
  return path_;
}

}  // namespace varve::exec
