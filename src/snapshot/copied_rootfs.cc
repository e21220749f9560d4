#include "snapshot/copied_rootfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "base/fd.h"
#include "snapshot/upper_walk.h"
#include "sys/open.h"
#include "sys/reflink.h"
#include "sys/remove.h"
#include "sys/statx.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

bool IsWhiteout(const sys::FileStat& st) { return (st.mode & S_IFMT) == S_IFCHR && st.rdev == 0; }

timespec ToTimespec(Timestamp time) {
  int64_t seconds = time.seconds();
  return {seconds, time.nanos - seconds * 1'000'000'000};
}

Status CopyXattrs(int from, int to) {
  TRY_ASSIGN(auto names, sys::ListXattrs(from));
  for (const std::string& name : names) {
    if (IsOverlayXattr(name)) continue;
    TRY_ASSIGN(auto value, sys::GetXattr(from, name));
    if (value) TRY(sys::SetXattr(to, name, *value));
  }
  return Ok();
}

Status SetOwnerAndMode(int fd, const sys::FileStat& st) {
  if (fchown(fd, st.uid, st.gid) != 0) return ErrnoError(errno, "chown");
  if (fchmod(fd, st.mode & 07777) != 0) return ErrnoError(errno, "chmod");
  return Ok();
}

Status SetTime(int fd, Timestamp mtime) {
  timespec times[2] = {ToTimespec(mtime), ToTimespec(mtime)};
  return futimens(fd, times) == 0 ? Ok() : Status(ErrnoError(errno, "set the time of a file"));
}

// Applies one layer after the other to a directory.
class Copier {
 public:
  explicit Copier(int target) : target_(target) {}

  Status Apply(const std::string& layer) {
    links_.clear();
    TRY_ASSIGN(Fd fd, sys::OpenDir(layer));
    return Merge(fd.get(), target_, "");
  }

  // Directories get their times last: each layer changes them anew.
  Status SetTimes() {
    for (auto it = times_.rbegin(); it != times_.rend(); ++it) {
      auto fd = sys::OpenInRoot(target_, RelPath(it->first), O_RDONLY | O_DIRECTORY, 0, {.no_symlinks = true});
      if (fd) TRY(SetTime(fd->get(), it->second));
    }
    return Ok();
  }

 private:
  Status Merge(int from, int to, const std::string& prefix) {
    TRY_ASSIGN(auto entries, sys::ListDirectory(from));
    for (const sys::DirEntry& entry : entries) {
      TRY_ASSIGN(sys::FileStat st, sys::Statx(from, entry.name));
      Status done = IsWhiteout(st)     ? sys::RemoveAllAt(to, entry.name)
                    : st.IsDirectory() ? MergeDirectory(from, to, prefix, entry.name, st)
                                       : CopyOther(from, to, prefix, entry.name, st);
      if (!done) return Error(std::move(done).error()).With("/" + prefix + entry.name);
    }
    return Ok();
  }

  Status MergeDirectory(int from, int to, const std::string& prefix, const std::string& name, const sys::FileStat& st) {
    Fd source(openat(from, name.c_str(), kDirectoryFlags));
    if (!source) return ErrnoError(errno, "open");
    TRY_ASSIGN(auto opaque, sys::GetXattr(source.get(), OverlayXattr("opaque")));
    auto there = sys::Statx(to, name);
    if (there && (opaque == "y" || !there->IsDirectory())) TRY(sys::RemoveAllAt(to, name));
    if (mkdirat(to, name.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoError(errno, "mkdir");
    Fd target(openat(to, name.c_str(), kDirectoryFlags));
    if (!target) return ErrnoError(errno, "open");
    times_[prefix + name] = st.mtime;
    TRY(Merge(source.get(), target.get(), prefix + name + "/"));
    TRY(SetOwnerAndMode(target.get(), st));
    return CopyXattrs(source.get(), target.get());
  }

  Status CopyOther(int from, int to, const std::string& prefix, const std::string& name, const sys::FileStat& st) {
    TRY(sys::RemoveAllAt(to, name));
    if (st.links > 1) {
      auto [first, is_new] = links_.emplace(st.inode, prefix + name);
      if (!is_new) {
        if (linkat(target_, first->second.c_str(), to, name.c_str(), 0) != 0) return ErrnoError(errno, "link");
        return Ok();
      }
    }
    if (st.IsRegular()) return CopyFile(from, to, name, st);
    if (st.IsSymlink()) {
      TRY_ASSIGN(std::string link, sys::ReadLink(from, name));
      if (symlinkat(link.c_str(), to, name.c_str()) != 0) return ErrnoError(errno, "symlink");
    } else if (mknodat(to, name.c_str(), st.mode, st.rdev) != 0) {
      return ErrnoError(errno, "mknod");
    }
    if (fchownat(to, name.c_str(), st.uid, st.gid, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoError(errno, "chown");
    if (!st.IsSymlink() && fchmodat(to, name.c_str(), st.mode & 07777, 0) != 0) return ErrnoError(errno, "chmod");
    timespec times[2] = {ToTimespec(st.mtime), ToTimespec(st.mtime)};
    if (utimensat(to, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoError(errno, "utimens");
    return Ok();
  }

  Status CopyFile(int from, int to, const std::string& name, const sys::FileStat& st) {
    Fd source(openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!source) return ErrnoError(errno, "open");
    Fd target(openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!target) return ErrnoError(errno, "create");
    TRY(sys::CopyFileContents(source.get(), target.get()));
    TRY(SetOwnerAndMode(target.get(), st));
    TRY(CopyXattrs(source.get(), target.get()));
    return SetTime(target.get(), st.mtime);
  }

  const int target_;
  std::map<uint64_t, std::string> links_;  // first paths of this layer's hard links, by inode
  std::map<std::string, Timestamp> times_;
};

// What was there before, to tell what a step changed. A write, chmod, chown or link changes the
// ctime, which nobody can set back; a new directory may get the inode number of a removed one,
// hence btime.
struct Known {
  mode_t type = 0;
  uint64_t inode = 0;
  Timestamp ctime;
  std::optional<Timestamp> btime;

  bool SameObject(const sys::FileStat& st) const {
    return type == (st.mode & S_IFMT) && inode == st.inode && btime == st.btime;
  }
};
using KnownDirectory = std::map<std::string, Known>;

class CopiedRootfs final : public RootfsMount {
 public:
  CopiedRootfs(std::string path, const std::string* upper)
      : path_(std::move(path)), upper_(upper ? *upper : std::string()) {}
  ~CopiedRootfs() override { (void)sys::RemoveAll(path_).has_value(); }

  const std::string& path() const override { return path_; }

  Status Fill(const std::vector<std::string>& lowers) {
    if (mkdir(path_.c_str(), 0700) != 0) return ErrnoError(errno, "mkdir " + path_);
    if (chmod(path_.c_str(), 0755) != 0) return ErrnoError(errno, "chmod " + path_);
    TRY_ASSIGN(Fd root, sys::OpenDir(path_));
    Copier copier(root.get());
    for (auto it = lowers.rbegin(); it != lowers.rend(); ++it) TRY(copier.Apply(*it));
    TRY(copier.SetTimes());
    if (upper_.empty()) return Ok();
    TRY(Remember(root.get(), ""));
    WaitForNextTick();
    return Ok();
  }

  Status Finish() override {
    if (upper_.empty() || finished_) return Ok();
    finished_ = true;
    TRY_ASSIGN(Fd root, sys::OpenDir(path_));
    TRY_ASSIGN(upper_fd_, sys::OpenDir(upper_));
    TRY(Compare(root.get(), ""));
    for (auto it = made_.rbegin(); it != made_.rend(); ++it) {
      TRY_ASSIGN(Fd fd, sys::OpenInRoot(upper_fd_.get(), RelPath(it->first), O_RDONLY | O_DIRECTORY, 0,
                                        {.no_symlinks = true}));
      TRY(SetTime(fd.get(), it->second));
    }
    return Ok();
  }

 private:
  // Times of files come from the kernel's coarse clock: a change within the tick of the last copy
  // would leave no trace.
  static void WaitForNextTick() {
    timespec start, now;
    clock_gettime(CLOCK_REALTIME_COARSE, &start);
    do {
      timespec pause{0, 1'000'000};
      nanosleep(&pause, nullptr);
      clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_sec == start.tv_sec && now.tv_nsec == start.tv_nsec);
  }

  Status Remember(int directory, const std::string& path) {
    TRY_ASSIGN(auto entries, sys::ListDirectory(directory));
    KnownDirectory& known = known_[path];
    for (const sys::DirEntry& entry : entries) {
      TRY_ASSIGN(sys::FileStat st, sys::Statx(directory, entry.name));
      known[entry.name] = {st.mode & S_IFMT, st.inode, st.ctime, st.btime};
      if (!st.IsDirectory()) continue;
      Fd fd(openat(directory, entry.name.c_str(), kDirectoryFlags));
      if (!fd) return ErrnoError(errno, "open " + entry.name);
      TRY(Remember(fd.get(), path + entry.name + "/"));
    }
    return Ok();
  }

  // `path` ends in a slash unless it is the root's.
  Status Compare(int directory, const std::string& path) {
    TRY_ASSIGN(auto entries, sys::ListDirectory(directory));
    KnownDirectory gone = known_[path];
    for (const sys::DirEntry& entry : entries) {
      std::optional<Known> before;
      if (auto node = gone.extract(entry.name)) before = node.mapped();
      TRY_ASSIGN(sys::FileStat st, sys::Statx(directory, entry.name));
      std::string child = path + entry.name;
      if (st.IsDirectory() && before && before->SameObject(st)) {
        Fd fd(openat(directory, entry.name.c_str(), kDirectoryFlags));
        if (!fd) return ErrnoError(errno, "open " + child);
        if (before->ctime != st.ctime) TRY(CopyUp(child));
        TRY(Compare(fd.get(), child + "/"));
        continue;
      }
      if (before && before->SameObject(st) && before->ctime == st.ctime) continue;
      TRY(CopyUp(path));
      if (renameat(directory, entry.name.c_str(), upper_fd_.get(), child.c_str()) != 0) {
        return ErrnoError(errno, "move to the layer /" + child);
      }
      if (st.IsDirectory() && before && before->type == S_IFDIR) {
        TRY(sys::SetXattr(upper_ + "/" + child, OverlayXattr("opaque"), "y"));
      }
    }
    for (const auto& [name, before] : gone) {
      TRY(CopyUp(path));
      std::string child = path + name;
      if (mknodat(upper_fd_.get(), child.c_str(), S_IFCHR, 0) != 0) {
        return ErrnoError(errno, "whiteout /" + child);
      }
    }
    return Ok();
  }

  // Makes the directory and its parents in the upper one, as they are in the copy.
  Status CopyUp(const std::string& directory) {
    RelPath path(directory);
    if (path.IsRoot() || made_.contains(path.str())) return Ok();
    TRY(CopyUp(path.Parent().str()));
    TRY_ASSIGN(Fd source, OpenFile(path_ + path.Absolute(), kDirectoryFlags));
    TRY_ASSIGN(sys::FileStat st, sys::Statx(source.get(), ""));
    if (mkdirat(upper_fd_.get(), path.str().c_str(), 0700) != 0) {
      return ErrnoError(errno, "mkdir in the layer " + path.Absolute());
    }
    TRY_ASSIGN(Fd target, OpenFile(upper_ + path.Absolute(), kDirectoryFlags));
    TRY(SetOwnerAndMode(target.get(), st));
    TRY(CopyXattrs(source.get(), target.get()));
    made_[path.str()] = st.mtime;
    return Ok();
  }

  const std::string path_;
  const std::string upper_;  // empty: read-only
  Fd upper_fd_;
  bool finished_ = false;
  std::map<std::string, KnownDirectory> known_;  // by path with a slash at the end
  std::map<std::string, Timestamp> made_;        // directories in the upper one
};

}  // namespace

Result<std::unique_ptr<RootfsMount>> CopyRootfs(const std::vector<std::string>& lowers, const std::string* upper,
                                                const std::string& target) {
  auto rootfs = std::make_unique<CopiedRootfs>(target, upper);
  TRY(rootfs->Fill(lowers));
  return std::unique_ptr<RootfsMount>(std::move(rootfs));
}

}  // namespace varve::snapshot
