#include "cache/cache_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace varve::cache {

namespace {

constexpr std::string_view kRemoved = "removed-";  // names no mount any more

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// What a process left that was killed while it removed a mount.
Status SweepRemoved(const std::string& mounts) {
  TRY_ASSIGN(Fd top, sys::OpenDir(mounts));
  TRY_ASSIGN(auto names, sys::ListDirectory(top.get()));
  for (const sys::DirEntry& name : names) {
    if (!name.name.starts_with(kRemoved)) continue;
    // Another process may be at it too: what it removes first is not missed.
    Status removed = sys::RemoveAll(mounts + "/" + name.name);
    if (!removed && removed.error().code != Code::kNotFound) LOG_INFO("{}", removed.error().message);
  }
  return Ok();
}

}  // namespace

std::string MountKey(const std::string& name_space, const std::string& id, const std::string& origin) {
  return name_space + "/" + id + (origin.empty() ? "" : ":" + origin);
}

Status CacheMounts::Use::MarkInitialised() {
  TRY(WriteFileAtomically(directory_ + "/ready", ""));
  is_new_ = false;
  // Between giving up the exclusive lock and having the shared one somebody else may take it; the
  // content is complete by then.
  return shared_ ? lock_.Share() : Ok();
}

Status CacheMounts::NoteUse(const Request& request, const std::string& directory) {
  std::string path = directory + "/meta";
  Timestamp now = clock_.Now();
  if (!Exists(path)) {
    Json meta;
    meta.Set("key", request.key).Set("id", request.id).Set("created", FormatTime(now));
    TRY(WriteFileAtomically(path, meta.Dump() + "\n", 0600));
  }
  timespec time{.tv_sec = now.seconds(), .tv_nsec = now.nanos - now.seconds() * 1'000'000'000};
  timespec times[2] = {time, time};
  if (utimensat(AT_FDCWD, path.c_str(), times, 0) != 0) return ErrnoError(errno, path);
  return Ok();
}

Result<std::optional<CacheMounts::Use>> CacheMounts::TryAcquire(const Request& request, const std::string& directory,
                                                                bool* busy) {
  *busy = false;
  TRY(sys::MkdirAll(directory, 0700));
  auto users = LockFile::Try(directory + "/users", sys::LockMode::kShared);
  // Removed between our two steps: the next attempt makes it again.
  if (!users && users.error().code == Code::kNotFound) return std::optional<Use>();
  if (!users) return std::move(users).error();
  if (!*users) return std::optional<Use>();
  std::string ready = directory + "/ready", data = directory + "/data";
  bool shared = request.sharing == MountSharing::kShared;
  // Whoever fills a new directory does so alone.
  bool exclusive = !shared || !Exists(ready);
  auto lock = LockFile::Try(directory + "/lock", exclusive ? sys::LockMode::kExclusive : sys::LockMode::kShared);
  if (!lock) return std::move(lock).error();
  *busy = !*lock;
  if (!*lock) return std::optional<Use>();
  bool is_new = !Exists(ready);
  if (is_new) {
    // What a holder that failed or died left half filled.
    TRY(sys::RemoveAll(data));
    TRY(sys::MkdirAll(data, 0755));
    if (chmod(data.c_str(), 0755) != 0) return ErrnoError(errno, data);
  } else if (shared && exclusive) {
    // Somebody filled it between our look and our lock.
    TRY((*lock)->Share());
  }
  TRY(NoteUse(request, directory));
  return std::optional(Use(std::move(**users), std::move(**lock), directory, is_new, shared));
}

Result<CacheMounts::Use> CacheMounts::Acquire(const Request& request, std::stop_token stop) {
  std::string base = fmt::format("{}/mounts/{}", root_, Digest::Of(request.key).Hex());
  bool told = false;
  WaitPauses pauses(stop);
  for (int number = 0;;) {
    std::string directory = number == 0 ? base : fmt::format("{}.{}", base, number);
    bool busy = false;
    TRY_ASSIGN(auto use, TryAcquire(request, directory, &busy));
    if (use) return std::move(*use);
    if (busy && request.sharing == MountSharing::kPrivate) {
      ++number;
      continue;
    }
    if (busy && !told && request.on_wait) request.on_wait();
    told = told || busy;
    if (!pauses.Pause()) return Cancelled("cancelled while waiting for cache mount {}", request.id);
  }
}

Result<CacheMounts::Use> CacheMounts::Open(const Entry& entry, std::stop_token stop) {
  WaitPauses pauses(stop);
  while (true) {
    auto users = LockFile::Try(entry.directory + "/users", sys::LockMode::kShared);
    bool gone = !users && users.error().code == Code::kNotFound;
    if (gone || !Exists(entry.directory + "/data")) {
      return NotFound("cache mount {} has been removed", entry.id);
    }
    if (!users) return std::move(users).error();
    auto lock = LockFile::Try(entry.directory + "/lock", sys::LockMode::kShared);
    if (!lock) return std::move(lock).error();
    if (*users && *lock) {
      return Use(std::move(**users), std::move(**lock), entry.directory, false, true);
    }
    if (!pauses.Pause()) return Cancelled("cancelled while waiting for cache mount {}", entry.id);
  }
}

Result<std::vector<CacheMounts::Entry>> CacheMounts::List() {
  std::vector<Entry> out;
  auto top = sys::OpenDir(root_ + "/mounts");
  if (!top && top.error().code == Code::kNotFound) return out;
  if (!top) return std::move(top).error();
  TRY_ASSIGN(auto names, sys::ListDirectory(top->get()));
  for (const sys::DirEntry& name : names) {
    if (name.name.starts_with(kRemoved)) continue;
    Entry entry{.directory = fmt::format("{}/mounts/{}", root_, name.name)};
    std::string path = entry.directory + "/meta";
    auto text = ReadFile(path, 1 << 20);
    struct stat st;
    // Being made, or being removed.
    if (!text || stat(path.c_str(), &st) != 0) continue;
    auto meta = Json::Parse(*text);
    if (meta) {
      entry.key = meta->GetString("key");
      entry.id = meta->GetString("id");
      if (auto created = ParseTime(meta->GetString("created"))) entry.created = *created;
    }
    entry.last_used = Timestamp{st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec};
    auto users = LockFile::Try(entry.directory + "/users", sys::LockMode::kExclusive);
    entry.busy = users && !*users;
    out.push_back(std::move(entry));
  }
  return out;
}

Result<bool> CacheMounts::Remove(const Entry& entry) {
  static std::atomic<unsigned> counter{0};
  auto users = LockFile::Try(entry.directory + "/users", sys::LockMode::kExclusive);
  if (!users && users.error().code == Code::kNotFound) return true;
  if (!users) return std::move(users).error();
  if (!*users) return false;
  // Out of the way in one step: from here on the key is a mount that does not exist, and those that
  // wait for the lock find that its name leads elsewhere (lock_file.h).
  std::string gone = fmt::format("{}/mounts/{}{}-{}", root_, kRemoved, getpid(), counter++);
  if (rename(entry.directory.c_str(), gone.c_str()) != 0) {
    return ErrnoError(errno, "remove " + entry.directory);
  }
  TRY(sys::RemoveAll(gone));
  TRY(SweepRemoved(root_ + "/mounts"));
  return true;
}

}  // namespace varve::cache
