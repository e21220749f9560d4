#include "snapshot/copied_rootfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <set>

#include "base/fd.h"
#include "snapshot/upper_walk.h"
#include "sys/open.h"
#include "sys/process.h"
#include "sys/remove.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

namespace {

struct State {
  ino_t inode;
  off_t size;
  mode_t mode;
  uid_t uid;
  gid_t gid;
  timespec ctime;
  bool operator==(const State& o) const {
    return inode == o.inode && size == o.size && mode == o.mode && uid == o.uid && gid == o.gid &&
           ctime.tv_sec == o.ctime.tv_sec && ctime.tv_nsec == o.ctime.tv_nsec;
  }
};

// Every path below `directory` with its state.
Status ListStates(int directory, const std::string& prefix, std::map<std::string, State>& out) {
  TRY_ASSIGN(auto entries, sys::ListDirectory(directory));
  for (const sys::DirEntry& entry : entries) {
    struct stat st;
    if (fstatat(directory, entry.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "stat " + prefix + entry.name);
    }
    bool is_directory = S_ISDIR(st.st_mode);
    // A directory's size and ctime change with its content; what matters of it is told by the rest.
    out[prefix + entry.name] = {st.st_ino, is_directory ? 0 : st.st_size, st.st_mode, st.st_uid,
                                st.st_gid, is_directory ? timespec{} : st.st_ctim};
    if (!is_directory) continue;
    Fd child(openat(directory, entry.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child) return ErrnoError(errno, "open " + prefix + entry.name);
    TRY(ListStates(child.get(), prefix + entry.name + "/", out));
  }
  return Ok();
}

// One layer over what is in `target`: removals first, then its files, by cp, which keeps every
// attribute, hard links and holes.
Status ApplyLayer(LayerStore& layers, const DiffId& layer, const std::string& target) {
  TRY_ASSIGN(tree::LayerIndex index, layers.Index(layer));
  std::set<std::string> whiteouts;
  for (const tree::LayerEntry& entry : index) {
    std::string path = target + entry.path.Absolute();
    struct stat st;
    if (lstat(path.c_str(), &st) != 0) continue;
    bool replaces = !entry.whiteout && (!entry.node.IsDirectory() || !S_ISDIR(st.st_mode));
    if (entry.whiteout || entry.opaque || replaces) TRY(sys::RemoveAll(path));
  }
  TRY(sys::RunAndRead({.argv = {"cp", "-a", "--reflink=auto", layers.Directory(layer) + "/.", target}}));
  for (const tree::LayerEntry& entry : index) {
    std::string path = target + entry.path.Absolute();
    if (entry.whiteout) {
      unlink(path.c_str());
    } else if (entry.opaque) {
      TRY(sys::RemoveXattr(path, OverlayXattr("opaque")));
    }
  }
  return Ok();
}

class CopiedRootfs final : public RootfsMount {
 public:
  CopiedRootfs(std::string path, LayerDraft* draft) : path_(std::move(path)), draft_(draft) {}
  ~CopiedRootfs() override { (void)sys::RemoveAll(path_).has_value(); }
  const std::string& path() const override { return path_; }

  Status Remember() {
    TRY_ASSIGN(Fd root, sys::OpenDir(path_));
    return ListStates(root.get(), "", before_);
  }

  Status Finish() override {
    if (draft_ == nullptr) return Ok();
    std::map<std::string, State> after;
    TRY_ASSIGN(Fd root, sys::OpenDir(path_));
    TRY(ListStates(root.get(), "", after));
    std::set<std::string> opaque;
    for (const auto& [path, state] : after) {
      auto old = before_.find(path);
      if (old != before_.end() && old->second == state) continue;
      TRY(CopyUpParents(path));
      std::string to = draft_->upper() + "/" + path;
      if (S_ISDIR(state.mode)) {
        TRY(CopyUpParents(path + "/"));
        bool replaced = old != before_.end() && (!S_ISDIR(old->second.mode) ||
                                                 old->second.inode != state.inode);
        if (replaced) TRY(sys::SetXattr(to, OverlayXattr("opaque"), "y"));
        if (replaced) opaque.insert(path + "/");
      } else if (rename((path_ + "/" + path).c_str(), to.c_str()) != 0) {
        return ErrnoError(errno, "move " + path);
      }
    }
    for (const auto& [path, state] : before_) {
      if (after.contains(path)) continue;
      std::string parent = path.substr(0, path.rfind('/') == path.npos ? 0 : path.rfind('/'));
      // A removed directory is one whiteout; what was in it needs none.
      if (!parent.empty() && !after.contains(parent)) continue;
      bool hidden = false;
      for (const std::string& prefix : opaque) hidden = hidden || path.starts_with(prefix);
      if (hidden) continue;
      TRY(CopyUpParents(path));
      if (mknod((draft_->upper() + "/" + path).c_str(), S_IFCHR, 0) != 0) {
        return ErrnoError(errno, "whiteout " + path);
      }
    }
    return RestoreTimes();
  }

 private:
  // Makes the directories above the last slash of `path` in the upper directory, with the attributes
  // that they have now.
  Status CopyUpParents(const std::string& path) {
    for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      std::string directory = path.substr(0, slash);
      if (!made_.insert(directory).second) continue;
      struct stat st;
      std::string from = path_ + "/" + directory, to = draft_->upper() + "/" + directory;
      if (lstat(from.c_str(), &st) != 0) return ErrnoError(errno, "stat " + directory);
      if (mkdir(to.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoError(errno, "mkdir " + directory);
      if (chown(to.c_str(), st.st_uid, st.st_gid) != 0 || chmod(to.c_str(), st.st_mode & 07777) != 0) {
        return ErrnoError(errno, "attributes of " + directory);
      }
      times_[directory] = st.st_mtim;
    }
    return Ok();
  }

  Status RestoreTimes() {
    for (const auto& [directory, time] : times_) {
      timespec times[2] = {time, time};
      std::string path = draft_->upper() + "/" + directory;
      if (utimensat(AT_FDCWD, path.c_str(), times, 0) != 0) return ErrnoError(errno, "utimens");
    }
    return Ok();
  }

  std::string path_;
  LayerDraft* draft_;
  std::map<std::string, State> before_;
  std::set<std::string> made_;
  std::map<std::string, timespec> times_;
};

}  // namespace

Result<std::unique_ptr<RootfsMount>> CopyRootfs(LayerStore& layers, const std::vector<DiffId>& stack,
                                                LayerDraft* draft, const std::string& scratch) {
  // Beside the draft, so that files can be moved into it.
  std::string path = draft != nullptr ? draft->work() + "/rootfs" : scratch + ".copy";
  TRY(sys::MkdirAll(path, 0755));
  auto rootfs = std::make_unique<CopiedRootfs>(path, draft);
  for (const DiffId& layer : stack) TRY(ApplyLayer(layers, layer, path));
  if (draft != nullptr) TRY(rootfs->Remember());
  return std::unique_ptr<RootfsMount>(std::move(rootfs));
}

}  // namespace varve::snapshot
