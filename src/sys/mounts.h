// Mounts with owners. (Not "mount.h": with src on the include path that would shadow
// <sys/mount.h>.)
//
// Everything acts on the mount namespace of the calling process: varve enters a private one first
// (sys/namespace.h), so that a kill -9 leaves no mount behind. Needs CAP_SYS_ADMIN in that
// namespace; without it errors are kInvalid ("operation not permitted").
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/result.h"

namespace varve::sys {

// Move-only owner of whatever is mounted on top at `target`. The destructor detaches it
// (MNT_DETACH: open files keep working, the tree disappears at once).
class Mount {
 public:
  Mount() = default;
  explicit Mount(std::string target) : target_(std::move(target)) {}
  Mount(Mount&& other) noexcept : target_(std::exchange(other.target_, {})) {}
  Mount& operator=(Mount&& other) noexcept;
  ~Mount();

  const std::string& target() const { return target_; }  // empty: owns nothing
  std::string Release() { return std::exchange(target_, {}); }
  // Detaches now and says how it went.
  Status Unmount();

 private:
  std::string target_;
};

struct MountFlags {
  bool read_only = false;
  bool nosuid = false;
  bool nodev = false;
  bool noexec = false;
};

struct BindOptions : MountFlags {
  bool recursive = false;  // with the mounts below source; the flags then apply to all of them
};

// Shows `source` (directory or file) at `target` (same kind, existing). The flags are set before
// the mount becomes visible where the kernel can (5.12), right after otherwise.
Result<Mount> BindMount(const std::string& source, const std::string& target, const BindOptions& options = {});

// size_bytes 0: the kernel's default, half of the memory.
Result<Mount> MountTmpfs(const std::string& target, uint64_t size_bytes = 0, unsigned mode = 0755,
                         const MountFlags& flags = {});

// What is mounted below the mount at `target` from now on shows in mount namespaces of children that follow
// (SpawnSpec::follow_mounts).
Status ShareMount(const std::string& target);

Result<Mount> MountCgroup2(const std::string& target);
Result<Mount> MountProc(const std::string& target);

}  // namespace varve::sys
