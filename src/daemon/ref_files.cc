#include "daemon/ref_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/rel_path.h"
#include "session/go_mode.h"
#include "sys/open.h"

namespace varve::daemon {

namespace {

constexpr int64_t kMaxRead = 15 << 20;

fsutil::types::Stat StatOf(const struct stat& st, const std::string& path) {
  fsutil::types::Stat out;
  out.set_path(path);
  out.set_mode(session::GoModeOf(st.st_mode));
  out.set_uid(st.st_uid);
  out.set_gid(st.st_gid);
  out.set_size(S_ISDIR(st.st_mode) ? 0 : st.st_size);
  out.set_mod_time(st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec);
  if (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode)) {
    out.set_devmajor(major(st.st_rdev));
    out.set_devminor(minor(st.st_rdev));
  }
  return out;
}

}  // namespace

Result<RefFiles> RefFiles::Open(const std::vector<DiffId>& layers, job::Workspace& workspace) {
  RefFiles files;
  TRY_ASSIGN(std::string scratch, workspace.scratch.Path());
  TRY_ASSIGN(files.mount_point_, sys::TempDir::Create(scratch, "ref-"));
  TRY_ASSIGN(files.mount_, snapshot::MountRootfs(*workspace.layers, layers, nullptr, files.mount_point_.path()));
  TRY_ASSIGN(files.root_, sys::OpenDir(files.mount_->path()));
  return files;
}

Result<RefFiles> RefFiles::OpenDirectory(const std::string& path) {
  RefFiles files;
  TRY_ASSIGN(files.root_, sys::OpenDir(path));
  return files;
}

Result<std::string> RefFiles::Read(const std::string& path, int64_t offset, int64_t length) {
  auto fd = sys::OpenInRoot(root_.get(), RelPath(path), O_RDONLY | O_NONBLOCK);
  if (!fd) return Error(std::move(fd).error()).With("open " + path);
  struct stat st;
  if (fstat(fd->get(), &st) != 0) return ErrnoError(errno, "stat " + path);
  if (!S_ISREG(st.st_mode)) return Invalid("{} is not a regular file", path);
  if (offset < 0 || length < 0) return Invalid("a range of {} that begins before the file", path);
  int64_t size = std::max<int64_t>(0, st.st_size - offset);
  if (length > 0) size = std::min(size, length);
  if (size > kMaxRead) {
    return Invalid("{} is too large to be read in one message ({} bytes): ask for a range", path, size);
  }
  std::string data(static_cast<size_t>(size), '\0');
  size_t have = 0;
  while (have < data.size()) {
    ssize_t n = pread(fd->get(), data.data() + have, data.size() - have, offset + static_cast<int64_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "read " + path);
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  data.resize(have);
  return data;
}

Result<std::vector<fsutil::types::Stat>> RefFiles::List(const std::string& path, const std::string& pattern) {
  auto fd = sys::OpenInRoot(root_.get(), RelPath(path), O_RDONLY | O_DIRECTORY);
  if (!fd) return Error(std::move(fd).error()).With("open " + path);
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd->get()));
  std::vector<fsutil::types::Stat> out;
  for (const sys::DirEntry& entry : entries) {
    if (!pattern.empty() && fnmatch(pattern.c_str(), entry.name.c_str(), FNM_PATHNAME) != 0) continue;
    struct stat st;
    if (fstatat(fd->get(), entry.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "stat " + entry.name);
    }
    fsutil::types::Stat stat = StatOf(st, entry.name);
    if (S_ISLNK(st.st_mode)) {
      TRY_ASSIGN(*stat.mutable_linkname(), sys::ReadLink(fd->get(), entry.name));
    }
    out.push_back(std::move(stat));
  }
  std::ranges::sort(out, {}, [](const auto& stat) { return stat.path(); });
  return out;
}

Result<fsutil::types::Stat> RefFiles::Stat(const std::string& path) {
  auto fd = sys::OpenInRoot(root_.get(), RelPath(path), O_PATH);
  if (!fd) return Error(std::move(fd).error()).With("stat " + path);
  struct stat st;
  if (fstat(fd->get(), &st) != 0) return ErrnoError(errno, "stat " + path);
  return StatOf(st, std::string(RelPath(path).Name()));
}

}  // namespace varve::daemon
