// What this machine can do. Probing does the thing on a small scale, since neither versions nor
// configuration tell what a seccomp profile, a container or a security module forbids.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace varve::sys {

struct KernelVersion {
  int major = 0, minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};
KernelVersion GetKernelVersion();

// What is mounted at /sys/fs/cgroup. Hybrid: v1 hierarchies with a cgroup2 at …/unified.
enum class CgroupLayout { kNone, kV1, kHybrid, kV2 };
CgroupLayout DetectCgroupLayout(const std::string& root = "/sys/fs/cgroup");

bool HasOpenat2();

// Mounts a two-layer overlay below `directory`, changes something, and looks. `user_xattrs` as in
// OverlaySpec. False also when the process may not mount.
bool OverlayUsable(const std::string& directory, bool user_xattrs = false);

// True when FICLONE works between two files in `directory`.
bool ReflinkUsable(const std::string& directory);

// True when an unprivileged user namespace can be made (tried in a child process).
bool UserNamespacesUsable();

struct DiskSpace {
  uint64_t total = 0, available = 0;  // bytes; available to this user
  uint64_t inodes = 0, inodes_available = 0;
};
Result<DiskSpace> GetDiskSpace(const std::string& path);

}  // namespace varve::sys
