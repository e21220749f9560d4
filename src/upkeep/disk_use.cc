#include "upkeep/disk_use.h"

#include <fts.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <memory>

#include "base/metric.h"

namespace varve::upkeep {

Result<uint64_t> DiskBytes(const std::string& path) {
  TRY_ASSIGN(DiskUse use, MeasureDisk(path));
  return use.bytes;
}

Result<DiskUse> MeasureDisk(const std::string& path) {
  METRIC("upkeep.measure");
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return DiskUse{};
    return ErrnoError(errno, path);
  }
  std::string name = path;
  char* const roots[] = {name.data(), nullptr};
  // Not in any order, never into another file system's mount.
  std::unique_ptr<FTS, int (*)(FTS*)> walk(fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, nullptr), fts_close);
  if (!walk) return ErrnoError(errno, path);
  DiskUse use;
  while (FTSENT* entry = fts_read(walk.get())) {
    if (entry->fts_info == FTS_DP) continue;  // a directory, the second time
    if (entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR) {
      if (entry->fts_errno == ENOENT) continue;
      return ErrnoError(entry->fts_errno, entry->fts_path);
    }
    const struct stat& item = *entry->fts_statp;
    uint64_t blocks = static_cast<uint64_t>(item.st_blocks) * 512;
    bool several = !S_ISDIR(item.st_mode) && item.st_nlink > 1;
    use.has_parts |= several;
    use.bytes += several ? blocks / item.st_nlink : blocks;
  }
  return use;
}

Result<DiskSpace> SpaceOf(const std::string& path) {
  struct statvfs st;
  if (statvfs(path.c_str(), &st) != 0) return ErrnoError(errno, "disk of " + path);
  return DiskSpace{static_cast<uint64_t>(st.f_blocks) * st.f_frsize, static_cast<uint64_t>(st.f_bavail) * st.f_frsize};
}

}  // namespace varve::upkeep
