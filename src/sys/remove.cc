#include "sys/remove.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "sys/open.h"

namespace varve::sys {
namespace {

// O_NOFOLLOW alone would enter a mount point; RESOLVE_NO_XDEV makes that EXDEV.
Fd OpenChild(int dir_fd, const std::string& name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  return Fd(static_cast<int>(syscall(SYS_openat2, dir_fd, name.c_str(), &how, sizeof(how))));
}

Status RemoveDirectory(int dir_fd, const std::string& name);

Status RemoveChildren(int fd) {
  TRY_ASSIGN(std::vector<DirEntry> entries, ListDirectory(fd));
  for (const DirEntry& entry : entries) {
    if (entry.type == DT_DIR || unlinkat(fd, entry.name.c_str(), 0) != 0) {
      if (entry.type != DT_DIR && errno == ENOENT) continue;
      TRY(RemoveDirectory(fd, entry.name));
    }
  }
  return Ok();
}

Status RemoveDirectory(int dir_fd, const std::string& name) {
  if (unlinkat(dir_fd, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return Ok();
  if (errno == ENOTDIR) {
    if (unlinkat(dir_fd, name.c_str(), 0) == 0 || errno == ENOENT) return Ok();
    return ErrnoError(errno, "remove " + name);
  }
  if (errno == EBUSY) {
    return Invalid("cannot remove {}: something is mounted on it", name);
  }
  Fd fd = OpenChild(dir_fd, name);
  if (!fd && errno == EACCES) {
    if (fchmodat(dir_fd, name.c_str(), 0700, 0) == 0) fd = OpenChild(dir_fd, name);
  }
  if (!fd) {
    if (errno == ENOENT) return Ok();
    return ErrnoError(errno, "open directory " + name);
  }
  Status status = RemoveChildren(fd.get());
  if (!status) {
    // Listing works with r, removing entries needs w and x.
    struct stat st;
    if (fstat(fd.get(), &st) == 0 && (st.st_mode & 0700) != 0700 && fchmod(fd.get(), 0700) == 0) {
      status = RemoveChildren(fd.get());
    }
  }
  if (!status) return Error(std::move(status).error()).With(name);
  if (unlinkat(dir_fd, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return Ok();
  return ErrnoError(errno, "remove " + name);
}

}  // namespace

Status RemoveAllAt(int dir_fd, const std::string& name) {
  if (unlinkat(dir_fd, name.c_str(), 0) == 0 || errno == ENOENT) return Ok();
  return RemoveDirectory(dir_fd, name);
}

Status RemoveAll(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.ends_with('/')) trimmed.pop_back();
  size_t slash = trimmed.rfind('/');
  std::string parent = slash == std::string::npos ? "." : trimmed.substr(0, slash);
  std::string name = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") {
    return Internal("refusing to remove {}", path);
  }
  auto dir = OpenFile(parent.empty() ? "/" : parent, O_PATH | O_DIRECTORY);
  if (!dir) {
    if (dir.error().code == Code::kNotFound) return Ok();
    return std::move(dir).error();
  }
  return RemoveAllAt(dir->get(), name);
}

}  // namespace varve::sys
