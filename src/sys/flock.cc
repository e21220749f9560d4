#include "sys/flock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <thread>

namespace varve::sys {

Result<std::optional<FlockGuard>> FlockGuard::TryLock(const std::string& path, LockMode mode) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_RDWR | O_CREAT, 0644));
  while (flock(fd.get(), (mode == LockMode::kShared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return std::optional<FlockGuard>();
    return ErrnoError(errno, "lock " + path);
  }
  return std::optional<FlockGuard>(FlockGuard(std::move(fd)));
}

Result<FlockGuard> FlockGuard::Lock(const std::string& path, LockMode mode, std::stop_token stop) {
  auto pause = std::chrono::microseconds(200);
  while (true) {
    TRY_ASSIGN(std::optional<FlockGuard> guard, TryLock(path, mode));
    if (guard) return std::move(*guard);
    if (stop.stop_requested()) return Cancelled("cancelled while waiting for the lock {}", path);
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(20'000));
  }
}

}  // namespace varve::sys
