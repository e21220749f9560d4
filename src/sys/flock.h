// Locks between varve processes.
//
// flock(2): the lock belongs to the open file description, so each guard opens the file itself; two
// guards in one process exclude each other as two processes do, and the kernel drops the lock when
// its process dies. (fcntl record locks would be lost on any close of the file; OFD record locks
// would do, but cannot be seen in /proc/locks with an owner.) A lock file is never removed:
// removing one while somebody waits on it would give the name two locks.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace varve::sys {

enum class LockMode { kShared, kExclusive };

class FlockGuard {
 public:
  // Waits until the lock is free, looking every few milliseconds so that `stop` is seen within
  // 50 ms; kCancelled then. The file is created when missing, mode 0644.
  static Result<FlockGuard> Lock(const std::string& path, LockMode mode, std::stop_token stop = {});

  // Nothing when somebody else holds it.
  static Result<std::optional<FlockGuard>> TryLock(const std::string& path, LockMode mode);

  FlockGuard(FlockGuard&&) = default;
  FlockGuard& operator=(FlockGuard&&) = default;

  int fd() const { return fd_.get(); }
  void Unlock() { fd_.Reset(); }

 private:
  explicit FlockGuard(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace varve::sys
