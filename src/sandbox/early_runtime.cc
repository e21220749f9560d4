#include "sandbox/early_runtime.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "sandbox/device_filter.h"
#include "sys/open.h"

namespace varve::sandbox {

namespace {

constexpr int kConfigFd = 3;  // crun closes what is above stderr before it runs a container's process

bool HasEnded(int pidfd) {
  pollfd fds{pidfd, POLLIN, 0};
  return poll(&fds, 1, 0) != 0;
}

}  // namespace

Result<std::unique_ptr<EarlyRuntime>> EarlyRuntime::Start(const Host& host, const Runtime& runtime,
                                                          const std::string& state_dir) {
  if (runtime.kind != RuntimeKind::kCrun) return Invalid("only crun is started early");
  int cgroup = -1;
  if (!host.user_namespace) {
    TRY_ASSIGN(cgroup, DeviceCgroup({}));
  }
  TRY_ASSIGN(Bundle bundle, Bundle::Create(state_dir));
  TRY(sys::MkdirAll(bundle.runtime_root(), 0711));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "make a pipe");
  Fd read_end(ends[0]);
  std::unique_ptr<EarlyRuntime> early(new EarlyRuntime(runtime, std::move(bundle)));
  early->config_.Reset(ends[1]);
  sys::SpawnSpec command = RuntimeCommand(runtime, host, early->bundle_.runtime_root(), early->bundle_.path(),
                                          early->bundle_.id(), {"--config", sys::FdPath(kConfigFd)});
  command.extra_fds.emplace_back(read_end.get(), kConfigFd);
  command.cgroup_fd = cgroup;
  command.follow_mounts = true;
  TRY_ASSIGN(early->process_, sys::PipedChild::Start(std::move(command)));
  return early;
}

bool EarlyRuntime::Fits(const Spec& spec) const {
  return spec.limits.empty() && spec.devices.empty() && spec.security == Security::kSandbox && !spec.terminal &&
         !HasEnded(process_.child().pidfd());
}

Status EarlyRuntime::Configure(std::string_view config) {
  Fd pipe = std::move(config_);
  while (!config.empty()) {
    ssize_t n = write(pipe.get(), config.data(), config.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Unavailable("the runtime that was started early is gone");
    config.remove_prefix(static_cast<size_t>(n));
  }
  return Ok();
}

}  // namespace varve::sandbox
