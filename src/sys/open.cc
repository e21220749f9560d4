#include "sys/open.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>

#include "base/strings.h"

namespace varve::sys {
namespace {

constexpr int kMaxSymlinks = 40;  // the kernel's own limit (MAXSYMLINKS)

Result<Fd> OpenAt2(int dir_fd, const RelPath& path, int flags, unsigned mode, uint64_t resolve) {
  const char* name = path.IsRoot() ? "." : path.str().c_str();
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0;
  how.resolve = resolve;
  // The kernel answers EAGAIN when a rename anywhere raced with a ".." below the root.
  for (int attempt = 0;; ++attempt) {
    long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno == EINTR) continue;
    if (errno == EAGAIN && !(flags & O_NONBLOCK) && attempt < 1000) continue;
    break;
  }
  Error error = ErrnoError(errno, "open " + path.Absolute());
  if (errno == ENOSYS) error.hint = "varve needs openat2: Linux 5.6 or later, and a seccomp profile that allows it";
  return error;
}

}  // namespace

Result<Fd> OpenInRoot(int root_fd, const RelPath& path, int flags, unsigned mode, const ResolveOptions& options) {
  uint64_t resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  if (options.no_symlinks) resolve |= RESOLVE_NO_SYMLINKS;
  if (options.no_xdev) resolve |= RESOLVE_NO_XDEV;
  return OpenAt2(root_fd, path, flags, mode, resolve);
}

Result<Fd> OpenDirNoFollow(int root_fd, const RelPath& path) {
  return OpenAt2(root_fd, path, O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

Result<Fd> OpenDir(const std::string& path) { return OpenFile(path, O_RDONLY | O_DIRECTORY); }

Result<std::string> ReadLink(int dir_fd, const std::string& name) {
  std::string target(256, '\0');
  while (true) {
    ssize_t n = readlinkat(dir_fd, name.c_str(), target.data(), target.size());
    if (n < 0) return ErrnoError(errno, "readlink " + name);
    if (static_cast<size_t>(n) < target.size()) {
      target.resize(static_cast<size_t>(n));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

namespace {

// Walks one component at a time and holds a descriptor for each directory from the root down, so
// that ".." in a symlink pops instead of asking the kernel for a parent that may have moved.
class PathMaker {
 public:
  PathMaker(int root_fd, bool file, unsigned mode, uid_t uid, gid_t gid, std::vector<RelPath>* created)
      : root_fd_(root_fd), file_(file), mode_(mode), uid_(uid), gid_(gid), created_(created) {}

  Result<Fd> Make(const RelPath& path) {
    Queue(path.str(), pending_.begin());
    while (!pending_.empty()) {
      std::string name = std::move(pending_.front());
      pending_.pop_front();
      if (name == "..") {
        if (!stack_.empty()) stack_.pop_back();
        resolved_ = resolved_.Parent();
        continue;
      }
      TRY(Enter(name));
    }
    if (found_file_) return std::move(found_file_);
    if (file_) return ErrnoError(EISDIR, "make file " + path.Absolute());
    if (!stack_.empty()) return std::move(stack_.back());
    return OpenInRoot(root_fd_, RelPath(), O_PATH | O_DIRECTORY);
  }

 private:
  int Top() const { return stack_.empty() ? root_fd_ : stack_.back().get(); }

  void Queue(std::string_view path, std::deque<std::string>::iterator where) {
    std::vector<std::string> parts = Split(path, '/');
    std::erase_if(parts, [](const std::string& part) { return part.empty() || part == "."; });
    pending_.insert(where, parts.begin(), parts.end());
  }

  Status Enter(const std::string& name) {
    RelPath here = resolved_.Join(name);
    Fd fd(openat(Top(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!fd && errno == ENOENT) {
      const bool file = file_ && pending_.empty();
      if (MakeEntry(name, file)) {
        fd.Reset(openat(Top(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (fd) {
          if (created_ != nullptr) created_->push_back(here);
          TRY(SetAttributes(fd.get(), here, file ? 0644 : mode_));
        }
      } else if (errno == EEXIST) {  // somebody else was faster
        fd.Reset(openat(Top(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      }
    }
    if (!fd) return ErrnoError(errno, "mkdir " + here.Absolute());
    struct stat st;
    if (fstat(fd.get(), &st) != 0) return ErrnoError(errno, "stat " + here.Absolute());
    if (S_ISDIR(st.st_mode)) {
      stack_.push_back(std::move(fd));
      resolved_ = std::move(here);
      return Ok();
    }
    if (!S_ISLNK(st.st_mode)) {
      if (!file_ || !pending_.empty()) return ErrnoError(ENOTDIR, "mkdir " + here.Absolute());
      found_file_ = std::move(fd);
      return Ok();
    }
    if (++symlinks_ > kMaxSymlinks) return ErrnoError(ELOOP, "mkdir " + here.Absolute());
    TRY_ASSIGN(std::string target, ReadLink(fd.get(), ""));
    if (target.starts_with('/')) {
      stack_.clear();
      resolved_ = RelPath();
    }
    Queue(target, pending_.begin());
    return Ok();
  }

  bool MakeEntry(const std::string& name, bool file) {
    if (!file) return mkdirat(Top(), name.c_str(), 0700) == 0;
    return Fd(openat(Top(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)).get() >= 0;
  }

  Status SetAttributes(int fd, const RelPath& path, unsigned mode) {
    std::string name = FdPath(fd);
    if (fchownat(fd, "", uid_, gid_, AT_EMPTY_PATH) != 0) {
      return ErrnoError(errno, "chown " + path.Absolute());
    }
    // After chown, which clears the set-id bits.
    if (chmod(name.c_str(), mode) != 0) return ErrnoError(errno, "chmod " + path.Absolute());
    return Ok();
  }

  const int root_fd_;
  const bool file_;
  const unsigned mode_;
  const uid_t uid_;
  const gid_t gid_;
  std::vector<RelPath>* const created_;
  std::deque<std::string> pending_;
  std::vector<Fd> stack_;
  RelPath resolved_;
  Fd found_file_;
  int symlinks_ = 0;
};

}  // namespace

Result<Fd> MkdirAllInRoot(int root_fd, const RelPath& path, unsigned mode, uid_t uid, gid_t gid,
                          std::vector<RelPath>* created) {
  return PathMaker(root_fd, false, mode, uid, gid, created).Make(path);
}

Result<Fd> MakeFileInRoot(int root_fd, const RelPath& path, std::vector<RelPath>* created) {
  return PathMaker(root_fd, true, 0755, geteuid(), getegid(), created).Make(path);
}

Status MkdirAll(const std::string& path, unsigned mode) {
  if (mkdir(path.c_str(), mode) == 0) return Ok();
  int error = errno;
  if (error == EEXIST) {
    struct stat st;
    if (stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return Ok();
    // Somebody removed it between the two calls.
    if (lstat(path.c_str(), &st) != 0 && errno == ENOENT) return MkdirAll(path, mode);
    return ErrnoError(ENOTDIR, "mkdir " + path);
  }
  size_t slash = path.find_last_not_of('/');
  if (slash != std::string::npos) slash = path.find_last_of('/', slash);
  if (error != ENOENT || slash == std::string::npos || slash == 0) {
    return ErrnoError(error, "mkdir " + path);
  }
  TRY(MkdirAll(path.substr(0, slash), mode));
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return ErrnoError(errno, "mkdir " + path);
  return Ok();
}

Result<std::vector<DirEntry>> ListDirectory(int dir_fd) {
  // A fresh description: dup would share the caller's position. No fdopendir, which makes three more system calls.
  Fd fd(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return ErrnoError(errno, "open directory");
  std::vector<DirEntry> entries;
  alignas(dirent64) std::array<char, 32 << 10> buffer;
  while (true) {
    const ssize_t n = getdents64(fd.get(), buffer.data(), buffer.size());
    if (n == 0 || (n < 0 && errno == ENOENT)) break;  // ENOENT: it was removed since, and has no entries
    if (n < 0) return ErrnoError(errno, "read directory");
    for (ssize_t at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") entries.push_back({std::string(name), entry->d_type, entry->d_ino});
    }
  }
  std::ranges::sort(entries, {}, &DirEntry::name);
  return entries;
}

std::string FdPath(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

}  // namespace varve::sys
