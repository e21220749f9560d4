#include "snapshot/staging.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace varve::snapshot {

namespace {
constexpr std::string_view kPrefix = "layers-";
constexpr std::string_view kLock = ".lock";
}  // namespace

Result<std::unique_ptr<Staging>> Staging::Open(const std::string& directory) {
  TRY(sys::MkdirAll(directory, 0700));
  std::unique_ptr<Staging> staging(new Staging(directory));
  TRY(staging->RemoveLeftovers());
  return staging;
}

Staging::~Staging() {
  removals_.reset();
  auto mine = mine_.Lock();
  if (!mine->lock) return;
  (void)sys::RemoveAll(mine->path).has_value();
  unlink((mine->path + std::string(kLock)).c_str());
}

Status Staging::RemoveLeftovers() {
  TRY_ASSIGN(Fd fd, sys::OpenDir(directory_));
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd.get()));
  for (const sys::DirEntry& entry : entries) {
    if (!entry.name.starts_with(kPrefix) || !entry.name.ends_with(kLock)) continue;
    std::string lock_path = directory_ + "/" + entry.name;
    auto lock = sys::FlockGuard::TryLock(lock_path, sys::LockMode::kExclusive);
    if (!lock || !*lock) continue;
    // What is mounted below belongs to a living mount namespace: left for a later time.
    if (!sys::RemoveAll(lock_path.substr(0, lock_path.size() - kLock.size()))) continue;
    unlink(lock_path.c_str());
  }
  return Ok();
}

Status Staging::Claim(Mine& mine) {
  // Random, because process ids repeat: in containers that share the root, and after a reboot.
  while (!mine.lock) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) return ErrnoError(errno, "getrandom");
    std::string path = fmt::format("{}/{}{:016x}", directory_, kPrefix, random);
    std::string lock_path = path + std::string(kLock);
    TRY_ASSIGN(auto lock, sys::FlockGuard::TryLock(lock_path, sys::LockMode::kExclusive));
    // Between its creation and its locking somebody may have taken the file for a leftover.
    struct stat named, held;
    if (!lock || stat(lock_path.c_str(), &named) != 0 || fstat(lock->fd(), &held) != 0 || named.st_ino != held.st_ino) {
      continue;
    }
    if (mkdir(path.c_str(), 0700) != 0) return ErrnoError(errno, "mkdir " + path);
    mine = {std::move(lock), path};
  }
  return Ok();
}

Result<std::string> Staging::NewPath() {
  auto mine = mine_.Lock();
  TRY(Claim(*mine));
  return fmt::format("{}/{}", mine->path, counter_++);
}

void Staging::RemoveLater(std::string path) {
  removals_->Submit([path = std::move(path)] {
    if (Status removed = sys::RemoveAll(path); !removed)
      LOG_WARN("what is staged stays: {}", removed.error().ToString());
  });
}

}  // namespace varve::snapshot
