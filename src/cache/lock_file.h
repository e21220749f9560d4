// A lock between processes that is a file, and may go away as a file.
//
// flock(2) as in sys/flock.h, plus what removing needs. Somebody who unlinks a lock file leaves
// those that have it open with a lock on a nameless inode, while the next comer makes and locks a
// new file of that name: two holders. So:
//   1. only the exclusive holder removes the file, while it holds the lock;
//   2. whoever gets the lock compares the inode it locked with the one that the name leads to now,
//      and starts again if they differ.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "sys/flock.h"

namespace varve::cache {

class LockFile {
 public:
  // Nothing when somebody else holds it. Made when missing, mode 0600; its directory must be there
  // (kNotFound).
  static Result<std::optional<LockFile>> Try(const std::string& path, sys::LockMode mode);

  // Looks again after 10 ms, 20 ms, … 100 ms until the lock is free; `on_wait` is called once,
  // before the first pause. kCancelled when `stop` comes first.
  static Result<LockFile> Wait(const std::string& path, sys::LockMode mode, std::stop_token stop,
                               const std::function<void()>& on_wait = {});

  LockFile(LockFile&&) = default;
  LockFile& operator=(LockFile&&) = default;

  int fd() const { return fd_.get(); }
  // An exclusive lock becomes a shared one.
  Status Share();
  // Only for an exclusive holder.
  void RemoveAndUnlock();

 private:
  LockFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_;
};

// The pauses of a wait: 10 ms, doubling to 100 ms. False once `stop` was requested.
class WaitPauses {
 public:
  explicit WaitPauses(std::stop_token stop) : stop_(std::move(stop)) {}
  bool Pause();

 private:
  std::stop_token stop_;
  int millis_ = 10;
};

}  // namespace varve::cache
