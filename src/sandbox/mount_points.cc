#include "sandbox/mount_points.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "sys/open.h"

namespace varve::sandbox {
namespace {

bool Equal(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

// Fails where there is no directory.
Result<struct stat> StatDirectory(int root_fd, const RelPath& path) {
  TRY_ASSIGN(Fd fd, sys::OpenInRoot(root_fd, path, O_PATH | O_DIRECTORY));
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return ErrnoError(errno, "stat " + path.Absolute());
  return st;
}

}  // namespace

MountPoints::~MountPoints() {
  if (Status status = Remove(); !status) LOG_WARN("{}", status.error().ToString());
}

Status MountPoints::Ensure(const RelPath& path, bool directory) {
  auto existing = sys::OpenInRoot(root_fd_, path, O_PATH | (directory ? O_DIRECTORY : 0));
  if (existing) return Ok();
  if (existing.error().code != Code::kNotFound) return std::move(existing).error();

  // A first pass would be needed to know which directory is going to change; instead, take the
  // times of all candidates: the parents by name. A dangling symlink leads elsewhere; then the
  // times of that other directory are simply not put back.
  std::vector<std::pair<RelPath, struct stat>> candidates;
  for (RelPath parent = path; !parent.IsRoot();) {
    parent = parent.Parent();
    if (auto st = StatDirectory(root_fd_, parent)) candidates.emplace_back(parent, *st);
  }
  std::vector<RelPath> created;
  auto made = directory ? sys::MkdirAllInRoot(root_fd_, path, 0755, geteuid(), getegid(), &created)
                        : sys::MakeFileInRoot(root_fd_, path, &created);
  created_.insert(created_.end(), created.begin(), created.end());
  if (!created.empty()) {
    RelPath changed = created.front().Parent();
    for (const auto& [candidate, st] : candidates) {
      if (candidate != changed) continue;
      timespec times[2] = {st.st_atim, st.st_mtim};
      TRY(Remember(changed, times));
    }
  }
  if (!made) return std::move(made).error();
  return Ok();
}

Status MountPoints::Remember(const RelPath& parent, const timespec times[2]) {
  TRY_ASSIGN(struct stat now, StatDirectory(root_fd_, parent));
  auto known = std::ranges::find(touched_, parent, &Touched::path);
  if (known != touched_.end()) {
    known->after = now.st_mtim;  // a second mount point in the same directory
  } else if (std::ranges::find(created_, parent) == created_.end()) {
    touched_.push_back({parent, times[0], times[1], now.st_mtim});
  }
  return Ok();
}

Status MountPoints::Remove() {
  std::vector<RelPath> created = std::exchange(created_, {});
  std::vector<Touched> touched = std::exchange(touched_, {});
  std::vector<timespec> current;
  for (const Touched& directory : touched) {
    auto st = StatDirectory(root_fd_, directory.path);
    current.push_back(st ? st->st_mtim : directory.after);
  }
  for (auto path = created.rbegin(); path != created.rend(); ++path) {
    // The step may have replaced any parent by a symlink: that is no longer ours.
    auto parent = sys::OpenDirNoFollow(root_fd_, path->Parent());
    if (!parent) continue;
    std::string name(path->Name());
    struct stat st;
    if (fstatat(parent->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISDIR(st.st_mode)) {
      if (unlinkat(parent->get(), name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOTEMPTY && errno != EEXIST &&
          errno != ENOENT) {
        return ErrnoError(errno, "remove the mount point " + path->Absolute());
      }
    } else if (S_ISREG(st.st_mode) && st.st_size == 0) {
      if (unlinkat(parent->get(), name.c_str(), 0) != 0 && errno != ENOENT) {
        return ErrnoError(errno, "remove the mount point " + path->Absolute());
      }
    }
  }
  for (size_t i = 0; i < touched.size(); ++i) {
    auto directory = sys::OpenDirNoFollow(root_fd_, touched[i].path);
    if (!directory) continue;
    const bool unchanged = Equal(current[i], touched[i].after);
    timespec times[2] = {touched[i].access_time, unchanged ? touched[i].before : current[i]};
    utimensat(AT_FDCWD, sys::FdPath(directory->get()).c_str(), times, 0);
  }
  return Ok();
}

std::vector<RelPath> MountPoints::Parents() const {
  std::vector<RelPath> paths;
  for (const Touched& directory : touched_) paths.push_back(directory.path);
  return paths;
}

}  // namespace varve::sandbox
