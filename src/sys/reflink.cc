#include "sys/reflink.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace varve::sys {
namespace {

Status CopyByReading(int in_fd, int out_fd, off_t begin, off_t end) {
  std::vector<char> buffer(static_cast<size_t>(std::min<off_t>(end - begin, 1 << 20)));
  while (begin < end) {
    size_t want = std::min(buffer.size(), static_cast<size_t>(end - begin));
    ssize_t n = pread(in_fd, buffer.data(), want, begin);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "read");
    if (n == 0) return Ok();  // shrank while we looked
    for (ssize_t done = 0; done < n;) {
      ssize_t written = pwrite(out_fd, buffer.data() + done, static_cast<size_t>(n - done), begin + done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return ErrnoError(errno, "write");
      done += written;
    }
    begin += n;
  }
  return Ok();
}

Status CopySegment(int in_fd, int out_fd, off_t begin, off_t end, CopyMethod& method) {
  while (method == CopyMethod::kCopyRange && begin < end) {
    off_t in_offset = begin, out_offset = begin;
    ssize_t n = copy_file_range(in_fd, &in_offset, out_fd, &out_offset, static_cast<size_t>(end - begin), 0);
    if (n > 0) {
      begin += n;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO)) {
      return ErrnoError(errno, "copy");
    }
    // 0 for a file that has content is how procfs and some network file systems say "cannot".
    method = CopyMethod::kReadWrite;
  }
  return CopyByReading(in_fd, out_fd, begin, end);
}

}  // namespace

Result<CopyMethod> CopyFileContents(int in_fd, int out_fd) {
  if (ioctl(out_fd, FICLONE, in_fd) == 0) return CopyMethod::kReflink;
  struct stat st;
  if (fstat(in_fd, &st) != 0) return ErrnoError(errno, "stat");
  CopyMethod method = CopyMethod::kCopyRange;
  for (off_t position = 0; position < st.st_size;) {
    off_t data = lseek(in_fd, position, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // only a hole is left
    off_t end = data < 0 ? st.st_size : lseek(in_fd, data, SEEK_HOLE);
    if (data < 0) data = position;  // no SEEK_DATA here: all of it is data
    if (end < 0 || end > st.st_size) end = st.st_size;
    if (end <= data) break;
    TRY(CopySegment(in_fd, out_fd, data, end, method));
    position = end;
  }
  if (ftruncate(out_fd, st.st_size) != 0) return ErrnoError(errno, "truncate");
  return method;
}

}  // namespace varve::sys
