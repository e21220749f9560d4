#include "session/tree_merge.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "session/go_mode.h"
#include "sys/remove.h"

namespace varve::session {
namespace {

constexpr size_t kMaxPath = 4095;

timespec ToTimespec(int64_t nanos) {
  const Timestamp time{nanos};
  return {.tv_sec = time.seconds(), .tv_nsec = nanos - time.seconds() * 1'000'000'000};
}

Status SetTime(int directory, const std::string& name, int64_t nanos) {
  const timespec times[2] = {ToTimespec(nanos), ToTimespec(nanos)};
  if (::utimensat(directory, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(errno, "set the time of " + name);
  }
  return Ok();
}

// "a/b": no empty part, no "." and no "..", which is also what RelPath would make of it.
Status CheckPath(std::string_view path, std::string_view what) {
  if (path.empty() || path.size() > kMaxPath || path.find('\0') != std::string_view::npos ||
      RelPath(path).str() != path) {
    return Invalid("the client sent a {} that is no clean relative path: \"{}\"", what, path.substr(0, 200));
  }
  return Ok();
}

}  // namespace

Result<bool> TreeMerge::Add(const fsutil::types::Stat& stat) {
  TRY(CheckPath(stat.path(), "path"));
  TRY_ASSIGN(const std::string_view base, Enter(stat.path()));
  const std::string name(base);
  Level& level = levels_.back();
  while (level.next < level.held.size() && level.held[level.next].name < name) {
    TRY(Remove(level, level.held[level.next++].name));
  }
  std::optional<sys::FileStat> held;
  if (level.next < level.held.size() && level.held[level.next].name == name) {
    ++level.next;
    TRY_ASSIGN(held, sys::Statx(level.fd.get(), name));
  }
  switch (stat.mode() & kGoType) {
    case kGoDirectory:
      TRY(AddDirectory(stat, name, held));
      return false;
    case kGoSymlink:
      TRY(AddSymlink(stat, name, held));
      return false;
    case kGoFifo:
      TRY(AddFifo(stat, name, held));
      return false;
    case 0:
      if (stat.linkname().empty()) return AddFile(stat, name, held);
      TRY(AddLink(stat, name, held));
      return false;
    default: {
      Error error = Invalid("\"{}\" of the client is a device or another special file", stat.path());
      error.hint = "exclude it with a .dockerignore file";
      return error;
    }
  }
}

// Makes the last level that of the path's directory; returns the path's last part.
Result<std::string_view> TreeMerge::Enter(std::string_view path) {
  if (levels_.empty()) {
    Level top;
    TRY_ASSIGN(top.fd, sys::OpenInRoot(root_, RelPath(), O_RDONLY | O_DIRECTORY));
    TRY_ASSIGN(top.held, sys::ListDirectory(top.fd.get()));
    levels_.push_back(std::move(top));
  }
  const size_t slash = path.rfind('/');
  const std::string_view directory = slash == path.npos ? "" : path.substr(0, slash);
  const std::string_view name = slash == path.npos ? path : path.substr(slash + 1);
  while (levels_.size() > 1 && levels_.back().path != directory) TRY(Leave());
  Level& level = levels_.back();
  if (level.path != directory || level.last >= name) {
    return Invalid("the client sent \"{}\" out of order", path);
  }
  level.last = name;
  return name;
}

// The sender has nothing more in the last level.
Status TreeMerge::Leave() {
  Level& level = levels_.back();
  while (level.next < level.held.size()) TRY(Remove(level, level.held[level.next++].name));
  if (level.changed && !level.path.empty()) {
    directories_.push_back({level.path, level.mode, level.time});
  }
  levels_.pop_back();
  return Ok();
}

Status TreeMerge::Remove(Level& level, const std::string& name) {
  ++removed_;
  level.changed = true;
  return sys::RemoveAllAt(level.fd.get(), name);
}

Status TreeMerge::AddDirectory(const fsutil::types::Stat& stat, const std::string& name,
                               const std::optional<sys::FileStat>& held) {
  if (levels_.size() > kMaxDepth) {
    return Invalid("\"{}…\" of the client is more than {} directories deep", stat.path().substr(0, 200), kMaxDepth);
  }
  Level& parent = levels_.back();
  Level level;
  level.path = stat.path();
  level.mode = PermissionsOf(stat.mode());
  level.time = stat.mod_time();
  const bool is_there = held && held->IsDirectory();
  if (!is_there) {
    if (held) TRY(Remove(parent, name));
    // Its own permissions may not let us write into it, so they come last.
    if (::mkdirat(parent.fd.get(), name.c_str(), 0700) != 0) {
      return ErrnoError(errno, "make directory " + stat.path());
    }
    parent.changed = true;
  } else if ((held->mode & 0700) != 0700) {
    ::fchmodat(parent.fd.get(), name.c_str(), 0700, 0);  // if it fails, so does what comes next
    level.changed = true;
  }
  level.changed = level.changed || !is_there || (held->mode & 07777) != level.mode || held->mtime.nanos != level.time;
  level.fd = Fd(::openat(parent.fd.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!level.fd) return ErrnoError(errno, "open directory " + stat.path());
  if (is_there) {
    TRY_ASSIGN(level.held, sys::ListDirectory(level.fd.get()));
  }
  levels_.push_back(std::move(level));
  return Ok();
}

Status TreeMerge::AddSymlink(const fsutil::types::Stat& stat, const std::string& name,
                             const std::optional<sys::FileStat>& held) {
  Level& level = levels_.back();
  const std::string& target = stat.linkname();
  if (target.empty() || target.size() > kMaxPath || target.find('\0') != target.npos) {
    return Invalid("the client sent \"{}\", a symlink without a sensible target", stat.path());
  }
  if (held && held->IsSymlink() && held->mtime.nanos == stat.mod_time()) {
    TRY_ASSIGN(const std::string old, sys::ReadLink(level.fd.get(), name));
    if (old == target) return Ok();
  }
  if (held) TRY(Remove(level, name));
  level.changed = true;
  if (::symlinkat(target.c_str(), level.fd.get(), name.c_str()) != 0) {
    return ErrnoError(errno, "make symlink " + stat.path());
  }
  return SetTime(level.fd.get(), name, stat.mod_time());
}

Status TreeMerge::AddFifo(const fsutil::types::Stat& stat, const std::string& name,
                          const std::optional<sys::FileStat>& held) {
  Level& level = levels_.back();
  const mode_t mode = PermissionsOf(stat.mode());
  if (held && S_ISFIFO(held->mode) && (held->mode & 07777) == mode && held->mtime.nanos == stat.mod_time()) {
    return Ok();
  }
  if (held) TRY(Remove(level, name));
  level.changed = true;
  if (::mkfifoat(level.fd.get(), name.c_str(), 0600) != 0 || ::fchmodat(level.fd.get(), name.c_str(), mode, 0) != 0) {
    return ErrnoError(errno, "make fifo " + stat.path());
  }
  return SetTime(level.fd.get(), name, stat.mod_time());
}

Result<bool> TreeMerge::AddFile(const fsutil::types::Stat& stat, const std::string& name,
                                const std::optional<sys::FileStat>& held) {
  Level& level = levels_.back();
  bool same = held && !always_ask_ && held->IsRegular() && static_cast<int64_t>(held->size) == stat.size() &&
              held->mtime.nanos == stat.mod_time() && (held->mode & 07777) == PermissionsOf(stat.mode());
  // Two names of one file that the sender says are two files now.
  if (same && held->links > 1) same = linked_.try_emplace(held->inode, stat.path()).second;
  if (same) return false;
  if (held) {
    TRY(Remove(level, name));
    --removed_;  // replaced
  }
  level.changed = true;
  return true;
}

Status TreeMerge::AddLink(const fsutil::types::Stat& stat, const std::string& name,
                          const std::optional<sys::FileStat>& held) {
  TRY(CheckPath(stat.linkname(), "hard link's target"));
  Level& level = levels_.back();
  if (held && !held->IsRegular()) TRY(Remove(level, name));
  // Files that are written later change their directory once more.
  level.changed = true;
  links_.push_back({stat.path(), stat.linkname()});
  return Ok();
}

Status TreeMerge::EndList() {
  if (levels_.empty()) TRY(Enter("."));  // an empty list: everything goes
  while (!levels_.empty()) TRY(Leave());
  return Ok();
}

Status TreeMerge::Finish() {
  for (const Link& link : links_) TRY(MakeLink(link));
  for (const Directory& directory : directories_) {
    TRY_ASSIGN(const Fd fd,
               sys::OpenInRoot(root_, RelPath(directory.path), O_RDONLY | O_DIRECTORY, 0, {.no_symlinks = true}));
    const timespec times[2] = {ToTimespec(directory.time), ToTimespec(directory.time)};
    if (::fchmod(fd.get(), directory.mode) != 0 || ::futimens(fd.get(), times) != 0) {
      return ErrnoError(errno, "set permissions and time of " + directory.path);
    }
  }
  return Ok();
}

// What lies in the directory by now is what the sender sent, so the target is one of its files or does not exist.
Status TreeMerge::MakeLink(const Link& link) {
  const sys::ResolveOptions no_symlinks{.no_symlinks = true};
  auto target = sys::OpenInRoot(root_, RelPath(link.target), O_PATH | O_NOFOLLOW, 0, no_symlinks);
  const auto wanted = target ? sys::Statx(target->get(), "") : Result<sys::FileStat>(target.error());
  if (!wanted || !wanted->IsRegular()) {
    return Invalid("the client sent \"{}\" as a hard link of \"{}\", which is no file of it", link.path, link.target);
  }
  const RelPath path(link.path);
  TRY_ASSIGN(const Fd directory, sys::OpenInRoot(root_, path.Parent(), O_RDONLY | O_DIRECTORY, 0, no_symlinks));
  const std::string name(path.Name());
  if (const auto held = sys::Statx(directory.get(), name)) {
    if (held->inode == wanted->inode && held->device == wanted->device) return Ok();
    TRY(sys::RemoveAllAt(directory.get(), name));
  }
  if (::linkat(AT_FDCWD, sys::FdPath(target->get()).c_str(), directory.get(), name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    return ErrnoError(errno, "make hard link " + link.path);
  }
  return Ok();
}

}  // namespace varve::session
