#include "snapshot/rootfs_mount.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <unordered_set>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/metric.h"
#include "base/rel_path.h"
#include "snapshot/copied_rootfs.h"
#include "snapshot/layer_meta.h"
#include "snapshot/parents.h"
#include "snapshot/upper_walk.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/overlay.h"
#include "sys/probe.h"
#include "sys/remove.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

namespace {

class OverlayRootfs final : public RootfsMount {
 public:
  OverlayRootfs(sys::Mount mount, std::string path, std::vector<std::string> helpers)
      : path_(std::move(path)), helpers_(std::move(helpers)), mount_(std::move(mount)) {}
  ~OverlayRootfs() override {
    (void)Finish().has_value();
    rmdir(path_.c_str());
    for (const std::string& directory : helpers_) (void)sys::RemoveAll(directory).has_value();
  }
  const std::string& path() const override { return path_; }
  Status Finish() override { return mount_.target().empty() ? Ok() : mount_.Unmount(); }

 private:
  const std::string path_;
  const std::vector<std::string> helpers_;  // lower directories of this mount alone
  sys::Mount mount_;
};

Status MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoError(errno, "mkdir " + path);
  if (chmod(path.c_str(), 0755) != 0) return ErrnoError(errno, "chmod " + path);
  return Ok();
}

// The directories to stack, topmost first.
class LowerPlan {
 public:
  LowerPlan(LayerStore& layers, const std::vector<DiffId>& stack, const std::string& scratch,
            const std::map<DiffId, std::string>& shown_by)
      : layers_(layers), stack_(stack), scratch_(scratch), shown_by_(shown_by), parents_(layers, stack) {}

  Status Make() {
    std::unordered_set<DiffId> seen;
    for (size_t i = stack_.size(); i-- > 0;) {
      const DiffId& layer = stack_[i];
      if (!seen.insert(layer).second) continue;
      TRY_ASSIGN(Layer about, layers_.Stat(layer));
      auto elsewhere = shown_by_.find(layer);
      // Whoever shows a layer may count what is asked of it, and that it has nothing is an answer.
      if (about.entries == 0 && elsewhere == shown_by_.end()) continue;
      TRY_ASSIGN(std::string directory, layers_.Directory(layer));
      TRY(CorrectParents(i, directory));
      lowers.push_back(elsewhere == shown_by_.end() ? directory : elsewhere->second);
      // Overlayfs looks for the mark below the root only.
      TRY_ASSIGN(auto opaque, sys::GetXattr(directory, OverlayXattr("opaque")));
      if (opaque == "y") break;
    }
    return Ok();
  }

  std::vector<std::string> lowers;
  std::vector<std::string> helpers;  // those of them that were made for this plan

 private:
  // Puts a directory above layer `number` that has the implicit parents with the attributes that
  // they have in this stack; only if they differ (see layer_store.h).
  Status CorrectParents(size_t number, const std::string& directory) {
    TRY_ASSIGN(auto implicit, ReadImplicit(directory.substr(0, directory.rfind('/'))));
    std::map<std::string, DirectoryAttributes> wrong;
    TRY_ASSIGN(Fd root, sys::OpenDir(directory));
    for (const std::string& path : implicit) {
      TRY_ASSIGN(DirectoryAttributes right, parents_.Find(path, number));
      TRY_ASSIGN(DirectoryAttributes there, AttributesIn(root.get(), path));
      right.mtime = there.mtime;  // nothing but a listing tells them apart
      if (right != there) wrong[path] = right;
    }
    if (wrong.empty()) return Ok();
    std::string helper = fmt::format("{}/parents-{}", scratch_, number);
    TRY(MakeDirectory(helper));
    helpers.push_back(helper);
    lowers.push_back(helper);
    // Parents of the wrong ones come along as they are in the layer.
    std::map<std::string, DirectoryAttributes> all = wrong;
    for (const auto& [path, attributes] : wrong) {
      for (RelPath at = RelPath(path).Parent(); !at.IsRoot(); at = at.Parent()) {
        if (all.contains(at.str())) continue;
        TRY_ASSIGN(all[at.str()], AttributesIn(root.get(), at.str()));
      }
    }
    TRY_ASSIGN(Fd helper_fd, sys::OpenDir(helper));
    for (const auto& [path, attributes] : all) {
      if (mkdirat(helper_fd.get(), path.c_str(), 0700) != 0) return ErrnoError(errno, "mkdir " + path);
    }
    for (auto it = all.rbegin(); it != all.rend(); ++it) {
      TRY_ASSIGN(Fd fd, sys::OpenInRoot(helper_fd.get(), RelPath(it->first), O_RDONLY | O_DIRECTORY, 0,
                                        {.no_symlinks = true}));
      TRY(ApplyDirectoryAttributes(fd.get(), it->second));
    }
    return Ok();
  }

  static Result<DirectoryAttributes> AttributesIn(int root, const std::string& path) {
    TRY_ASSIGN(Fd fd, sys::OpenInRoot(root, RelPath(path), O_RDONLY | O_DIRECTORY, 0, {.no_symlinks = true}));
    return ReadDirectoryAttributes(fd.get());
  }

  LayerStore& layers_;
  const std::vector<DiffId>& stack_;
  const std::string& scratch_;
  const std::map<DiffId, std::string>& shown_by_;
  ParentLookup parents_;
};

}  // namespace

bool OverlayUsable(const std::string& root) {
  const char* forced = std::getenv("VARVE_NO_OVERLAY");
  if (forced != nullptr && std::string_view(forced) == "1") return false;
  static Guarded<std::map<dev_t, bool>> known;
  struct stat st;
  if (stat(root.c_str(), &st) != 0) return false;
  auto answers = known.Lock();
  auto found = answers->find(st.st_dev);
  if (found != answers->end()) return found->second;
  bool usable = sys::OverlayUsable(root, sys::InUserNamespace());
  answers->emplace(st.st_dev, usable);
  return usable;
}

Result<std::unique_ptr<RootfsMount>> MountRootfs(LayerStore& layers, const std::vector<DiffId>& stack,
                                                 LayerDraft* draft, const std::string& scratch) {
  return MountRootfs(layers, stack, draft, scratch, {});
}

Result<std::unique_ptr<RootfsMount>> MountRootfs(LayerStore& layers, const std::vector<DiffId>& stack,
                                                 LayerDraft* draft, const std::string& scratch,
                                                 const std::map<DiffId, std::string>& shown_by) {
  METRIC("snapshot.mount");
  // Beside the draft's files rather than beside a mount point that may be on a tmpfs.
  const std::string disk = draft ? draft->work().substr(0, draft->work().rfind('/')) : scratch;
  LowerPlan plan(layers, stack, disk, shown_by);
  if (Status made = plan.Make(); !made) {
    // Whoever mounts a stack has been told that it is here.
    Error error = std::move(made).error();
    if (error.code == Code::kNotFound) error.code = Code::kCorrupt;
    return std::move(error).With("mounting the layers");
  }
  std::string target = scratch + "/rootfs";
  // One more for the empty directory below.
  if (!OverlayUsable(disk) || plan.lowers.size() >= sys::kMaxOverlayLowers) {
    auto copy = CopyRootfs(plan.lowers, draft ? &draft->upper() : nullptr, target);
    for (const std::string& helper : plan.helpers) TRY(sys::RemoveAll(helper));
    return copy;
  }
  TRY(MakeDirectory(target));
  if (plan.lowers.size() == 1 && draft == nullptr) {
    // Alone it would be a bind mount, which shows whiteouts as devices.
    std::string empty = scratch + "/empty";
    TRY(MakeDirectory(empty));
    plan.helpers.push_back(empty);
    plan.lowers.push_back(empty);
  }
  sys::OverlaySpec spec{
      .lowers = plan.lowers, .volatile_upper = true, .user_xattrs = sys::InUserNamespace(), .xino = !shown_by.empty()};
  if (draft != nullptr) {
    spec.upper = draft->upper();
    spec.work = draft->work();
  }
  TRY_ASSIGN(sys::Mount mount, sys::MountOverlay(spec, target));
  return std::unique_ptr<RootfsMount>(
      std::make_unique<OverlayRootfs>(std::move(mount), target, std::move(plan.helpers)));
}

}  // namespace varve::snapshot
