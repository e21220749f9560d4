#include "source/context_hash.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <vector>

#include "base/fd.h"

namespace varve::source {

namespace {

constexpr int kAttempts = 3;
constexpr size_t kBufferSize = 256 << 10;

int64_t Nanoseconds(const timespec& t) { return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec; }

Error ReadError(int error, const std::string& path) {
  Error out = ErrnoError(error, "read /" + path + " of the context");
  if (error == EACCES || error == EPERM) {
    out.hint = "make it readable, or exclude it in .dockerignore";
  }
  return out;
}

}  // namespace

tree::FileStamp StampOf(const struct stat& st) {
  return {static_cast<uint64_t>(st.st_size), Nanoseconds(st.st_mtim), Nanoseconds(st.st_ctim), st.st_ino, st.st_mode};
}

Result<HashedFile> HashFile(int dir_fd, const char* name, const std::string& path, Clock& clock,
                            const std::function<void()>& between) {
  thread_local std::vector<char> buffer(kBufferSize);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    HashedFile out;
    out.hashed_at = clock.Now();
    // O_NONBLOCK: should the file have become a FIFO, opening it must not wait for a writer.
    Fd fd(openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd) {
      if (errno == ENOENT || errno == ELOOP) break;
      return ReadError(errno, path);
    }
    struct stat before, after;
    if (fstat(fd.get(), &before) != 0) return ReadError(errno, path);
    if (!S_ISREG(before.st_mode)) break;
    uint64_t size = 0;
    std::optional<Sha256> hash;
    while (true) {
      ssize_t n = read(fd.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ReadError(errno, path);
      size += static_cast<uint64_t>(n);
      std::string_view bytes(buffer.data(), static_cast<size_t>(n));
      // Most files come in one piece: one call hashes them, and the second stat tells that it was
      // all.
      if (!hash && size == static_cast<uint64_t>(before.st_size)) {
        out.digest = Digest::Of(bytes);
        break;
      }
      if (!hash) hash.emplace();
      if (n == 0) break;
      hash->Update(bytes);
    }
    if (hash) out.digest = hash->Finish();
    if (between) between();
    if (fstat(fd.get(), &after) != 0) return ReadError(errno, path);
    out.stamp = StampOf(after);
    if (out.stamp == StampOf(before) && size == out.stamp.size) return out;
  }
  Error error = Invalid("/{} of the context changes while it is read", path);
  error.hint = "stop what writes to it, or exclude it in .dockerignore";
  return error;
}

}  // namespace varve::source
