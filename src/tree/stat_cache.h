// What the files of a build context had in them the last time, so that unchanged ones are not read.
//
// One file per context. It holds, per directory, the regular files with the stamp that the kernel
// gave for them (size, mtime, ctime, inode, mode) and the digest of the content that went with it.
// A file that still has the same stamp still has the same content, provided that the race below is
// excluded; ctime is what makes this sound, since no program can set it.
//
// The race ("racily clean" files, as git calls them). The kernel stamps files with a clock that
// moves in steps, the grain: 1 to 10 ms on local file systems, up to two seconds on others.
//   1. A writer stores version A at time t; the file gets mtime = ctime = t, rounded down to a
//   step.
//   2. We stat the file, hash A, stat it again: nothing moved. We record (stamp t → digest of A).
//   3. The writer stores version B of the same size, still within the step of t: the stamp stays t.
//   4. The next build sees stamp t and would take the digest of A for B.
// Step 3 is impossible once the step of t is over. So a record is only made when mtime and ctime
// are both older, by more than the grain, than the moment at which hashing began (IsSettled): then
// any later write gets a stamp later than t. A file that is too young is hashed again by the next
// build, which will find it settled.
//
// Not covered, as in git and make: a program that keeps changing a file through a shared mapping while
// the build reads it. The kernel stamps such a file only when a clean page is first written.
//
// Format, version 1. Integers little-endian, offsets from the start of the file:
//
//   file      := header block* paths directory*
//   header    := "varvesc1" u32 directories u32 paths_size u64 paths_offset u64 checksum
//                checksum: of paths and directory*
//   directory := u64 block_offset u64 checksum u32 block_size u32 path_offset u32 path_size u32 0
//                sorted by path; the path is relative to the context, the checksum that of the
//                block
//   block     := u32 files u32 names_size record* names       padded with zeros to 8 bytes
//   record    := u64 size i64 mtime_ns i64 ctime_ns u64 inode u32 mode u32 name_offset u32
//   name_size
//                u32 0, 32 bytes digest                       sorted by name
//   checksum  := first 8 bytes of the SHA-256
//
// The file is mapped, not read: opening costs the directory table, and each directory is checked
// when it is first asked for, by the thread that walks it. A file that is damaged, foreign or of
// another version counts as absent, a damaged block as an unknown directory.
//
// Rejected: a database, which would copy and allocate every row before the first comparison, and
// one sorted list of full paths, which repeats directories and is rewritten as a whole for one
// changed file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace varve::tree {

// What the kernel says about a file; all of it must be unchanged.
struct FileStamp {
  uint64_t size = 0;
  int64_t mtime = 0;  // nanoseconds since the epoch
  int64_t ctime = 0;
  uint64_t inode = 0;
  uint32_t mode = 0;  // st_mode
  bool operator==(const FileStamp&) const = default;
};

// Whether a file that had this stamp when hashing began at `hashed_at` may be recorded; see the
// race.
bool IsSettled(const FileStamp& stamp, int64_t hashed_at, int64_t grain);

// The files of one directory; a view into a StatCache or into the bytes that a StatBlock made.
class StatBlockView {
 public:
  StatBlockView() = default;

  size_t size() const { return count_; }
  std::string_view bytes() const { return bytes_; }
  std::string_view name(size_t i) const;
  FileStamp stamp(size_t i) const;
  Digest digest(size_t i) const;

 private:
  friend class StatCache;
  static StatBlockView Parse(std::string_view bytes);  // empty when damaged

  std::string_view bytes_;
  size_t count_ = 0;
};

// Makes one block. Files must be added in the order of their names.
class StatBlock {
 public:
  void Add(std::string_view name, const FileStamp& stamp, const Digest& digest);
  std::string Finish();  // resets

 private:
  struct Record;
  std::string records_, names_;
  uint32_t count_ = 0;
};

// An opened stat cache. Immutable; safe from any thread.
class StatCache {
 public:
  StatCache();
  ~StatCache();
  StatCache(StatCache&&) noexcept;
  StatCache& operator=(StatCache&&) noexcept;

  // Empty when there is no such file, or none that can be used.
  static StatCache Open(const std::string& file);

  size_t directories() const;
  std::string_view path(size_t i) const;  // sorted
  // The files of a directory, none when it is unknown. Views live as long as the StatCache.
  StatBlockView Find(std::string_view directory) const;
  StatBlockView block(size_t i) const;

 private:
  struct Mapping;
  std::unique_ptr<Mapping> mapping_;
};

// Replaces the file. `directories`: path and block, sorted by path; blocks may be views into a
// StatCache that was opened from the same file.
Status WriteStatCache(const std::string& file,
                      const std::vector<std::pair<std::string_view, std::string_view>>& directories);

}  // namespace varve::tree
