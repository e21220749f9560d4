// Writes a large new file past the page cache (O_DIRECT), as long as the disk keeps up.
//
// What is written once and not read soon pays for the page cache and gains nothing: 660 MB took 1.1
// to 1.7 s of CPU and 2.2 s through it on a virtual machine whose host hands out memory a page at a
// time, and 0.08 s of CPU and 0.5 s past it. A slow disk would make the caller wait instead, so
// that what a disk does not take at kLeastRate goes through the cache after all, and so does all of
// a file system that cannot.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/clock.h"
#include "base/io.h"

namespace varve::sys {

// One thread at a time. Errors are those of write(2).
class DirectWriter final : public Writer {
 public:
  // The beginning of a file goes through the cache: small files are not worth waiting for the disk.
  static constexpr uint64_t kDirectFrom = 8 << 20;
  static constexpr uint64_t kLeastRate = 400 << 20;  // bytes a second

  // `fd`: a regular file, open for writing at its start, empty, not O_APPEND; its flag O_DIRECT is
  // changed.
  explicit DirectWriter(int fd) : fd_(fd) {}

  Status Write(std::string_view data) override;
  // Writes what is held back for the sake of whole blocks; without it the file lacks its end.
  Status Finish();

 private:
  struct Free {
    void operator()(char* bytes) const { std::free(bytes); }
  };
  Status WriteHeld(size_t size);
  Status WriteAll(std::string_view data);
  bool SetDirect(bool direct);

  const int fd_;
  std::unique_ptr<char, Free> held_;
  size_t size_ = 0;  // of what is held
  uint64_t written_ = 0;
  bool direct_ = false;
  bool given_up_ = false;
  uint64_t direct_bytes_ = 0;
  Nanos direct_time_{0};
};

}  // namespace varve::sys
