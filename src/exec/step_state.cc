#include "exec/step_state.h"

#include <utility>

#include "base/log.h"
#include "sandbox/early_runtime.h"
#include "sys/namespace.h"
#include "sys/open.h"

namespace varve::exec {

StepState::StepState(const sys::LazyTempDir& parent) : parent_(parent) {}
StepState::~StepState() = default;

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
      made->shared = sys::ShareMount(path).has_value();
    } else {
      LOG_WARN("the state of steps is on disk: {}", mount.error().ToString());
    }
  }
  return made->path = std::move(path);
}

std::unique_ptr<sandbox::EarlyRuntime> StepState::TakeRuntime() {
  if (auto waits = std::exchange(*waiting_.Lock(), nullptr)) return waits;
  return NewRuntime();
}

void StepState::StartRuntime() {
  auto waiting = waiting_.Lock();
  if (!*waiting) *waiting = NewRuntime();
}

std::unique_ptr<sandbox::EarlyRuntime> StepState::NewRuntime() {
  std::string path;
  {
    auto made = made_.Lock();
    if (!made->shared) return nullptr;
    path = made->path;
  }
  auto runtime = sandbox::FindRuntime();
  if (!runtime || runtime->kind != sandbox::RuntimeKind::kCrun) return nullptr;
  auto early = sandbox::EarlyRuntime::Start(sandbox::ThisHost(), *runtime, path);
  if (early) return std::move(*early);
  LOG_DEBUG("no runtime was started early: {}", early.error().message);
  return nullptr;
}

}  // namespace varve::exec
