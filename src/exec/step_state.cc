#include "exec/step_state.h"

#include "base/log.h"
#include "sys/namespace.h"
#include "sys/open.h"

namespace varve::exec {

Result<std::string> StepState::Directory() {
  auto made = made_.Lock();
  if (!made->path.empty()) return made->path;
  TRY_ASSIGN(std::string path, parent_.Path());
  path += "/steps";
  TRY(sys::MkdirAll(path, 0711));
  if (sys::CanMount()) {
    auto mount = sys::MountTmpfs(path, 0, 0711, {.nosuid = true, .nodev = true});
    if (mount) {
      made->mount = std::move(*mount);
    } else {
      LOG_WARN("the state of steps is on disk: {}", mount.error().ToString());
    }
  }
  return made->path = std::move(path);
}

}  // namespace varve::exec
