#include "base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace varve {

void Fd::Reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Result<size_t> FdReader::Read(std::span<char> buffer) {
  while (true) {
    ssize_t n = read(fd_, buffer.data(), buffer.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return ErrnoError(errno, "read");
  }
}

Status FdWriter::Write(std::string_view data) {
  while (!data.empty()) {
    ssize_t n = write(fd_, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, "write");
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return Ok();
}

Result<Fd> OpenFile(const std::string& path, int flags, unsigned mode) {
  Fd fd(open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return ErrnoError(errno, "open " + path);
  return fd;
}

Result<std::string> ReadFile(const std::string& path, uint64_t limit) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_RDONLY));
  FdReader reader(fd.get());
  auto text = ReadAll(reader, limit);
  if (!text) return Error(std::move(text).error()).With(path);
  return text;
}

namespace {

// Few writes, also of many small pieces.
Status WritePieces(Writer& out, std::span<const std::string_view> pieces) {
  if (pieces.size() == 1) return out.Write(pieces.front());
  constexpr size_t kGathered = 256 << 10;
  std::string gathered;
  for (std::string_view piece : pieces) {
    if (gathered.size() + piece.size() > kGathered) {
      TRY(out.Write(gathered));
      gathered.clear();
    }
    if (piece.size() > kGathered) {
      TRY(out.Write(piece));
    } else {
      gathered += piece;
    }
  }
  return out.Write(gathered);
}

}  // namespace

Status WriteFileAtomically(const std::string& path, std::string_view data, unsigned mode, bool sync) {
  return WriteFileAtomically(path, std::span(&data, 1), mode, sync);
}

Status WriteFileAtomically(const std::string& path, std::span<const std::string_view> pieces, unsigned mode,
                           bool sync) {
  // A device, pipe or socket is written to: renaming over /dev/null would leave the machine without.
  struct stat st;
  if (stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
    TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY));
    FdWriter out(fd.get());
    return WritePieces(out, pieces);
  }
  static std::atomic<unsigned> counter{0};
  std::string temporary = fmt::format("{}.tmp-{}-{}", path, getpid(), counter++);
  const int opened = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (opened < 0) return ErrnoError(errno, "write " + path);  // nobody knows the temporary name
  const Fd fd(opened);
  auto write_and_rename = [&]() -> Status {
    FdWriter out(fd.get());
    TRY(WritePieces(out, pieces));
    if (sync && fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + path);
    if (rename(temporary.c_str(), path.c_str()) != 0) return ErrnoError(errno, "rename to " + path);
    return Ok();
  };
  Status status = write_and_rename();
  if (!status) unlink(temporary.c_str());
  return status;
}

}  // namespace varve
