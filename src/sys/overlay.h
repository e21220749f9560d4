// Overlay mounts of any useful number of layers.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/mounts.h"

namespace varve::sys {

// The kernel's limit (OVL_MAX_STACK); a longer stack has to be copied together first.
inline constexpr size_t kMaxOverlayLowers = 500;

enum class OverlayApi {
  kAuto,  // fsconfig if the kernel knows "lowerdir+" (6.5), else the option string
  kFsconfig,
  kOptions,  // mount(2); its page of options holds some 200 layers, given as descriptor numbers
};

struct OverlaySpec {
  std::vector<std::string> lowers = {};  // topmost first
  std::string upper = {}, work = {};     // both, on one file system, or both empty: read-only
  bool volatile_upper = false;           // skip all syncs; a crash makes the upper directory unusable
  bool user_xattrs = false;              // user.overlay.* instead of trusted.overlay.*: inside a user
                                         // namespace
  bool xino = false;                     // inode numbers that stay when a file of another file system's layer
                                         // is copied up
  OverlayApi api = OverlayApi::kAuto;
};

// Mounts the stack on `target`, an existing directory. What overlayfs cannot say is said otherwise:
// no lowers and an upper directory is a bind mount of that; one lower alone is a read-only bind
// mount; nothing at all is an empty read-only tmpfs.
//
// Options that are always set, because layers must not depend on the host's module defaults:
// index=off, redirect_dir=off and metacopy=off (an upper directory is read as plain files and must
// stand for itself), xino=off unless asked for (inode numbers are never recorded).
Result<Mount> MountOverlay(const OverlaySpec& spec, const std::string& target);

}  // namespace varve::sys
