#include "sys/direct_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/fd.h"

namespace varve::sys {

namespace {

constexpr size_t kBlock = 4096;  // no file system wants more, for memory, offset and size
constexpr size_t kHeld = 2 << 20;
constexpr Nanos kPatience{100'000'000};

}  // namespace

bool DirectWriter::SetDirect(bool direct) {
  int flags = fcntl(fd_, F_GETFL);
  if (flags < 0) return false;
  if (fcntl(fd_, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) != 0) return false;
  direct_ = direct;
  return true;
}

Status DirectWriter::Write(std::string_view data) {
  if (!held_) held_.reset(static_cast<char*>(std::aligned_alloc(kBlock, kHeld)));
  CHECK(held_ != nullptr);
  while (!data.empty()) {
    size_t n = std::min(kHeld - size_, data.size());
    std::memcpy(held_.get() + size_, data.data(), n);
    size_ += n;
    data.remove_prefix(n);
    if (size_ == kHeld) TRY(WriteHeld(kHeld));
  }
  return Ok();
}

Status DirectWriter::Finish() {
  size_t blocks = size_ - size_ % kBlock;
  if (direct_ && blocks > 0) TRY(WriteHeld(blocks));
  if (direct_) SetDirect(false);
  return WriteAll({held_.get(), std::exchange(size_, 0)});
}

// Some of what is held; the rest is moved to the front.
Status DirectWriter::WriteHeld(size_t size) {
  if (!direct_ && !given_up_ && written_ >= kDirectFrom) given_up_ = !SetDirect(true);
  TRY(WriteAll({held_.get(), size}));
  size_ -= size;
  std::memmove(held_.get(), held_.get() + size, size_);
  return Ok();
}

Status DirectWriter::WriteAll(std::string_view data) {
  while (!data.empty()) {
    Nanos began = SystemClock().Monotonic();
    ssize_t n = write(fd_, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL && direct_) {
      given_up_ = true;
      if (SetDirect(false)) continue;
    }
    if (n < 0) return ErrnoError(errno, "write");
    written_ += static_cast<size_t>(n);
    data.remove_prefix(static_cast<size_t>(n));
    if (!direct_) continue;
    direct_bytes_ += static_cast<size_t>(n);
    direct_time_ += SystemClock().Monotonic() - began;
    Nanos expected(static_cast<int64_t>(direct_bytes_ * 1000 / (kLeastRate / 1'000'000)));
    bool slow = direct_time_ > kPatience + expected;
    // A write that ended inside a block cannot be gone on with directly either.
    if (slow || n % kBlock != 0) given_up_ = SetDirect(false);
  }
  return Ok();
}

}  // namespace varve::sys
