#include "sys/probe.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/overlay.h"
#include "sys/process.h"
#include "sys/reflink.h"
#include "sys/tempdir.h"

namespace varve::sys {

KernelVersion GetKernelVersion() {
  utsname name{};
  KernelVersion version;
  if (uname(&name) == 0) std::sscanf(name.release, "%d.%d", &version.major, &version.minor);
  return version;
}

CgroupLayout DetectCgroupLayout(const std::string& root) {
  struct statfs fs;
  if (statfs(root.c_str(), &fs) != 0) return CgroupLayout::kNone;
  if (fs.f_type == CGROUP2_SUPER_MAGIC) return CgroupLayout::kV2;
  if (fs.f_type != TMPFS_MAGIC) return CgroupLayout::kNone;
  if (statfs((root + "/unified").c_str(), &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC) {
    return CgroupLayout::kHybrid;
  }
  for (const char* controller : {"/memory", "/cpu", "/pids", "/devices"}) {
    if (statfs((root + controller).c_str(), &fs) == 0 && fs.f_type == CGROUP_SUPER_MAGIC) {
      return CgroupLayout::kV1;
    }
  }
  return CgroupLayout::kNone;
}

bool HasOpenat2() {
  auto root = OpenDir("/");
  return root && OpenInRoot(root->get(), RelPath(), O_PATH).has_value();
}

bool OverlayUsable(const std::string& directory, bool user_xattrs) {
  if (!CanMount()) return false;
  auto dir = TempDir::Create(directory, ".probe-");
  if (!dir) return false;
  const std::string& base = dir->path();
  for (const char* name : {"/a", "/b", "/u", "/w", "/m"}) {
    if (mkdir((base + name).c_str(), 0755) != 0) return false;
  }
  if (!OpenFile(base + "/b/gone", O_CREAT | O_WRONLY)) return false;
  OverlaySpec spec;
  spec.lowers = {base + "/a", base + "/b"};
  spec.upper = base + "/u";
  spec.work = base + "/w";
  spec.user_xattrs = user_xattrs;
  spec.volatile_upper = true;  // else its unmount syncs the disk: half a second on a busy one
  auto mounted = MountOverlay(spec, base + "/m");
  if (!mounted) return false;
  // Removing a lower file needs a whiteout device (or the right to make one), which some backing
  // file systems and most user namespaces before 5.11 refuse.
  if (unlink((base + "/m/gone").c_str()) != 0) return false;
  struct stat st;
  return lstat((base + "/u/gone").c_str(), &st) == 0 && S_ISCHR(st.st_mode);
}

bool ReflinkUsable(const std::string& directory) {
  auto dir = TempDir::Create(directory, ".probe-");
  if (!dir) return false;
  auto in = OpenFile(dir->path() + "/in", O_CREAT | O_RDWR);
  auto out = OpenFile(dir->path() + "/out", O_CREAT | O_RDWR);
  if (!in || !out || !FdWriter(in->get()).Write(std::string(4096, 'x'))) return false;
  auto method = CopyFileContents(in->get(), out->get());
  return method && *method == CopyMethod::kReflink;
}

bool UserNamespacesUsable() {
  auto child = Spawn({.argv = {"true"}, .new_namespaces = CLONE_NEWUSER});
  return child && child->Wait().has_value();
}

Result<DiskSpace> GetDiskSpace(const std::string& path) {
  struct statvfs fs;
  if (statvfs(path.c_str(), &fs) != 0) return ErrnoError(errno, "statvfs " + path);
  DiskSpace space;
  space.total = static_cast<uint64_t>(fs.f_blocks) * fs.f_frsize;
  space.available = static_cast<uint64_t>(fs.f_bavail) * fs.f_frsize;
  space.inodes = fs.f_files;
  space.inodes_available = fs.f_favail;
  return space;
}

}  // namespace varve::sys
