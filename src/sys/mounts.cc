#include "sys/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/log.h"
#include "sys/namespace.h"

namespace varve::sys {

Mount& Mount::operator=(Mount&& other) noexcept {
  if (this != &other) {
    if (Status status = Unmount(); !status) LOG_WARN("{}", status.error().ToString());
    target_ = std::exchange(other.target_, {});
  }
  return *this;
}

Mount::~Mount() {
  if (Status status = Unmount(); !status) LOG_WARN("{}", status.error().ToString());
}

Status Mount::Unmount() {
  if (target_.empty()) return Ok();
  std::string target = std::exchange(target_, {});
  if (umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
    return ErrnoError(errno, "unmount " + target);
  }
  return Ok();
}

namespace {

uint64_t AttributeBits(const MountFlags& flags) {
  uint64_t bits = 0;
  if (flags.read_only) bits |= MOUNT_ATTR_RDONLY;
  if (flags.nosuid) bits |= MOUNT_ATTR_NOSUID;
  if (flags.nodev) bits |= MOUNT_ATTR_NODEV;
  if (flags.noexec) bits |= MOUNT_ATTR_NOEXEC;
  return bits;
}

unsigned long MountBits(const MountFlags& flags) {
  unsigned long bits = 0;
  if (flags.read_only) bits |= MS_RDONLY;
  if (flags.nosuid) bits |= MS_NOSUID;
  if (flags.nodev) bits |= MS_NODEV;
  if (flags.noexec) bits |= MS_NOEXEC;
  return bits;
}

// Before 5.12 there is no mount_setattr: flags need a remount, which is not recursive.
Result<Mount> BindMountOld(const std::string& source, const std::string& target, const BindOptions& options) {
  unsigned long bind = MS_BIND;
  if (options.recursive) bind |= MS_REC;
  if (mount(source.c_str(), target.c_str(), nullptr, bind, nullptr) != 0) {
    return ErrnoError(errno, fmt::format("bind mount {} on {}", source, target));
  }
  Mount mounted(target);
  if (unsigned long bits = MountBits(options); bits != 0) {
    if (mount(nullptr, target.c_str(), nullptr, MS_BIND | MS_REMOUNT | bits, nullptr) != 0) {
      return ErrnoError(errno, "set mount flags of " + target);
    }
  }
  return mounted;
}

Result<Mount> MountFileSystem(const char* type, const std::string& target, unsigned long flags,
                              const std::string& options) {
  TRY(CheckMountNamespace());
  if (mount(type, target.c_str(), type, flags, options.c_str()) != 0) {
    return ErrnoError(errno, fmt::format("mount {} on {}", type, target));
  }
  return Mount(target);
}

}  // namespace

Result<Mount> BindMount(const std::string& source, const std::string& target, const BindOptions& options) {
  TRY(CheckMountNamespace());
  unsigned recursive = options.recursive ? AT_RECURSIVE : 0;
  Fd tree(open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive));
  if (!tree) {
    if (errno == ENOSYS) return BindMountOld(source, target, options);
    return ErrnoError(errno, fmt::format("bind mount {} on {}", source, target));
  }
  mount_attr attributes{};
  attributes.attr_set = AttributeBits(options);
  if (attributes.attr_set != 0 &&
      mount_setattr(tree.get(), "", AT_EMPTY_PATH | recursive, &attributes, sizeof(attributes)) != 0) {
    if (errno == ENOSYS) return BindMountOld(source, target, options);
    return ErrnoError(errno, "set mount flags of " + target);
  }
  if (move_mount(tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError(errno, fmt::format("bind mount {} on {}", source, target));
  }
  return Mount(target);
}

Result<Mount> MountTmpfs(const std::string& target, uint64_t size_bytes, unsigned mode, const MountFlags& flags) {
  std::string options = fmt::format("mode={:o}", mode);
  if (size_bytes > 0) options += fmt::format(",size={}", size_bytes);
  return MountFileSystem("tmpfs", target, MountBits(flags), options);
}

Status ShareMount(const std::string& target) {
  TRY(CheckMountNamespace());
  if (mount("none", target.c_str(), nullptr, MS_SHARED, nullptr) != 0)
    return ErrnoError(errno, "share the mount " + target);
  return Ok();
}

Result<Mount> MountCgroup2(const std::string& target) {
  return MountFileSystem("cgroup2", target, MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
}

Result<Mount> MountProc(const std::string& target) {
  return MountFileSystem("proc", target, MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
}

}  // namespace varve::sys
