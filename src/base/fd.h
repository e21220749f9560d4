// Owner of a file descriptor, and streams over one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/io.h"

namespace varve {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

// Reads from the descriptor's position. Does not own it.
class FdReader final : public Reader {
 public:
  explicit FdReader(int fd) : fd_(fd) {}
  Result<size_t> Read(std::span<char> buffer) override;

 private:
  int fd_;
};

// Writes at the descriptor's position, unbuffered. Does not own it.
class FdWriter final : public Writer {
 public:
  explicit FdWriter(int fd) : fd_(fd) {}
  Status Write(std::string_view data) override;

 private:
  int fd_;
};

// Opens with O_CLOEXEC. `path` is trusted: paths from images and contexts go through
// sys::OpenInRoot.
Result<Fd> OpenFile(const std::string& path, int flags, unsigned mode = 0644);

// The content of a trusted file; kNotFound when it is not there, kInvalid beyond `limit`.
Result<std::string> ReadFile(const std::string& path, uint64_t limit = 64 << 20);

// Replaces a file by writing a sibling and renaming it: readers see the old or the new content,
// never a part. Not durable against power loss unless `sync`.
Status WriteFileAtomically(const std::string& path, std::string_view data, unsigned mode = 0644, bool sync = false);
// The same of pieces, one after the other, without a copy of them all.
Status WriteFileAtomically(const std::string& path, std::span<const std::string_view> pieces, unsigned mode = 0644,
                           bool sync = false);

}  // namespace varve
