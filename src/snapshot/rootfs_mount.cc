#include "snapshot/rootfs_mount.h"

#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/guarded.h"
#include "base/metric.h"
#include "snapshot/copied_rootfs.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/overlay.h"
#include "sys/tempdir.h"

namespace varve::snapshot {

namespace {

class OverlayRootfs final : public RootfsMount {
 public:
  OverlayRootfs(sys::Mount mount, std::string path) : mount_(std::move(mount)), path_(std::move(path)) {}
  const std::string& path() const override { return path_; }
  Status Finish() override { return mount_.Unmount(); }

 private:
  sys::Mount mount_;
  std::string path_;
};

bool ProbeOverlay(const std::string& root) {
  if (const char* off = std::getenv("VARVE_NO_OVERLAY"); off != nullptr && *off == '1') return false;
  auto directory = sys::TempDir::Create(root, "probe-");
  if (!directory) return false;
  for (const char* name : {"lower", "upper", "work", "merged"}) {
    if (!sys::MkdirAll(directory->path() + "/" + name, 0755)) return false;
  }
  const std::string& at = directory->path();
  auto mount = sys::MountOverlay({.lowers = {at + "/lower"}, .upper = at + "/upper",
                                  .work = at + "/work", .user_xattrs = sys::InUserNamespace()},
                                 at + "/merged");
  return mount.has_value();
}

}  // namespace

bool OverlayUsable(const std::string& root) {
  static Guarded<std::map<std::string, bool>> known;
  auto answers = known.Lock();
  auto it = answers->find(root);
  if (it == answers->end()) it = answers->emplace(root, ProbeOverlay(root)).first;
  return it->second;
}

Result<std::unique_ptr<RootfsMount>> MountRootfs(LayerStore& layers, const std::vector<DiffId>& stack,
                                                 LayerDraft* draft, const std::string& scratch) {
  METRIC("snapshot.mount");
  std::vector<std::string> directories;  // topmost first
  for (auto layer = stack.rbegin(); layer != stack.rend(); ++layer) {
    directories.push_back(layers.Directory(*layer));
  }
  std::string probe_at = scratch.substr(0, scratch.rfind('/'));
  if (!OverlayUsable(probe_at) || stack.size() > sys::kMaxOverlayLowers) {
    return CopyRootfs(layers, stack, draft, scratch);
  }
  sys::OverlaySpec spec{.lowers = directories, .volatile_upper = true,
                        .user_xattrs = sys::InUserNamespace()};
  if (draft != nullptr) {
    spec.upper = draft->upper();
    spec.work = draft->work();
  }
  auto mount = sys::MountOverlay(spec, scratch);
  if (!mount) return Error(std::move(mount).error()).With("mounting the root file system");
  return std::unique_ptr<RootfsMount>(std::make_unique<OverlayRootfs>(std::move(*mount), scratch));
}

}  // namespace varve::snapshot
