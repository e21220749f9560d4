#include "cache/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>

namespace varve::cache {

namespace {

bool SameInode(int fd, const std::string& path) {
  struct stat held, named;
  return fstat(fd, &held) == 0 && stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

}  // namespace

Result<std::optional<LockFile>> LockFile::Try(const std::string& path, sys::LockMode mode) {
  int operation = mode == sys::LockMode::kShared ? LOCK_SH : LOCK_EX;
  while (true) {
    TRY_ASSIGN(Fd fd, OpenFile(path, O_RDWR | O_CREAT, 0600));
    if (flock(fd.get(), operation | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno == EWOULDBLOCK) return std::optional<LockFile>();
      return ErrnoError(errno, "lock " + path);
    }
    if (SameInode(fd.get(), path)) return std::optional(LockFile(std::move(fd), path));
  }
}

Result<LockFile> LockFile::Wait(const std::string& path, sys::LockMode mode, std::stop_token stop,
                                const std::function<void()>& on_wait) {
  WaitPauses pauses(stop);
  for (bool told = false;; told = true) {
    TRY_ASSIGN(std::optional<LockFile> lock, Try(path, mode));
    if (lock) return std::move(*lock);
    if (!told && on_wait) on_wait();
    if (!pauses.Pause()) return Cancelled("cancelled while waiting for the lock {}", path);
  }
}

Status LockFile::Share() {
  while (flock(fd_.get(), LOCK_SH) != 0) {
    if (errno != EINTR) return ErrnoError(errno, "share lock " + path_);
  }
  return Ok();
}

void LockFile::RemoveAndUnlock() {
  unlink(path_.c_str());
  fd_.Reset();
}

bool WaitPauses::Pause() {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  // Waits on the token, not on the clock alone: a cancelled build ends at once.
  wake.wait_for(lock, stop_, std::chrono::milliseconds(millis_), [] { return false; });
  millis_ = std::min(millis_ * 2, 100);
  return !stop_.stop_requested();
}

}  // namespace varve::cache
