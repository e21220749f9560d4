// The mode bits of Go's os.FileMode, as fsutil.types.Stat.mode carries them.
#pragma once

#include <sys/stat.h>

#include <cstdint>

namespace varve::session {

inline constexpr uint32_t kGoDirectory = 1u << 31;
inline constexpr uint32_t kGoSymlink = 1u << 27;
inline constexpr uint32_t kGoDevice = 1u << 26;
inline constexpr uint32_t kGoFifo = 1u << 25;
inline constexpr uint32_t kGoSocket = 1u << 24;
inline constexpr uint32_t kGoSetuid = 1u << 23;
inline constexpr uint32_t kGoSetgid = 1u << 22;
inline constexpr uint32_t kGoCharDevice = 1u << 21;
inline constexpr uint32_t kGoSticky = 1u << 20;
inline constexpr uint32_t kGoIrregular = 1u << 19;
inline constexpr uint32_t kGoType =
    kGoDirectory | kGoSymlink | kGoDevice | kGoFifo | kGoSocket | kGoCharDevice | kGoIrregular;

// 07777.
constexpr mode_t PermissionsOf(uint32_t go) {
  return (go & 0777) | ((go & kGoSetuid) ? 04000 : 0) | ((go & kGoSetgid) ? 02000 : 0) | ((go & kGoSticky) ? 01000 : 0);
}

constexpr uint32_t GoModeOf(mode_t mode) {
  uint32_t go = (mode & 0777) | ((mode & 04000) ? kGoSetuid : 0) | ((mode & 02000) ? kGoSetgid : 0) |
                ((mode & 01000) ? kGoSticky : 0);
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return go | kGoDirectory;
    case S_IFLNK:
      return go | kGoSymlink;
    case S_IFBLK:
      return go | kGoDevice;
    case S_IFCHR:
      return go | kGoDevice | kGoCharDevice;
    case S_IFIFO:
      return go | kGoFifo;
    default:
      return go;  // fsutil sends sockets as files without content
  }
}

}  // namespace varve::session
