#include "tier/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace varve::tier {

namespace {

class SpoolReader final : public Reader {
 public:
  SpoolReader(std::shared_ptr<const Fd> file, uint64_t begin, uint64_t end)
      : file_(std::move(file)), next_(begin), end_(end) {}
  Result<size_t> Read(std::span<char> buffer) override {
    const size_t most = std::min<uint64_t>(buffer.size(), end_ - next_);
    while (most > 0) {
      ssize_t n = pread(file_->get(), buffer.data(), most, static_cast<off_t>(next_));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return ErrnoError(n < 0 ? errno : EIO, "read of a spooled blob");
      next_ += static_cast<size_t>(n);
      return static_cast<size_t>(n);
    }
    return size_t{0};
  }

 private:
  const std::shared_ptr<const Fd> file_;
  uint64_t next_;
  const uint64_t end_;
};

}  // namespace

Result<OpenAt> Spool::Add(std::string_view bytes) {
  std::shared_ptr<const Fd> fd;
  uint64_t begin = 0;
  {
    auto file = file_.Lock();
    if (!file->fd) {
      TRY_ASSIGN(Fd opened, OpenFile(directory_, O_TMPFILE | O_RDWR, 0600));
      file->fd = std::make_shared<const Fd>(std::move(opened));
    }
    fd = file->fd;
    begin = file->end;
    file->end += bytes.size();
  }
  for (size_t done = 0; done < bytes.size();) {
    ssize_t n = pwrite(fd->get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(begin + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "write of a spooled blob");
    done += static_cast<size_t>(n);
  }
  return OpenAt([fd, begin, size = bytes.size()](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
    return std::make_unique<SpoolReader>(fd, begin + std::min<uint64_t>(offset, size), begin + size);
  });
}

}  // namespace varve::tier
