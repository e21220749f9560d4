#include "sys/statx.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

namespace varve::sys {

static Timestamp ToTimestamp(const statx_timestamp& t) {
  return {static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec};
}

Result<FileStat> Statx(int dir_fd, const std::string& name) {
  struct statx x;
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (name.empty() ? AT_EMPTY_PATH : 0);
  if (statx(dir_fd, name.c_str(), flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &x) != 0) {
    return ErrnoError(errno, "stat " + (name.empty() ? std::string("open file") : name));
  }
  FileStat st;
  st.mode = x.stx_mode;
  st.uid = x.stx_uid;
  st.gid = x.stx_gid;
  st.size = x.stx_size;
  st.blocks = x.stx_blocks;
  st.inode = x.stx_ino;
  st.links = x.stx_nlink;
  st.device = makedev(x.stx_dev_major, x.stx_dev_minor);
  st.rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor);
  st.mount_id = x.stx_mask & STATX_MNT_ID ? x.stx_mnt_id : 0;
  st.mtime = ToTimestamp(x.stx_mtime);
  st.ctime = ToTimestamp(x.stx_ctime);
  if (x.stx_mask & STATX_BTIME) st.btime = ToTimestamp(x.stx_btime);
  return st;
}

Result<FileStat> Statx(const std::string& path) { return Statx(AT_FDCWD, path); }

}  // namespace varve::sys
