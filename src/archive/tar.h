// Layer tars: written byte for byte as the field writes them, read whatever wrote them.
//
// Format written: POSIX pax (IEEE 1003.1), in the exact form of Go's archive/tar as containerd uses it
// (reference exporters.md §7): mtime truncated to the second, no atime or ctime, no user or group
// names, a pax header only for what does not fit into the ustar fields. A diff id is the digest of
// these bytes, so two builders that see the same files name the same layer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/io.h"
#include "base/result.h"

namespace varve::archive {

enum class EntryType { kFile, kHardLink, kSymlink, kCharDevice, kBlockDevice, kDirectory, kFifo };

struct TarEntry {
  std::string name;                 // relative; as read: not cleaned, may be hostile
  EntryType type = EntryType::kFile;
  uint32_t mode = 0;                // 07777 bits
  uint64_t uid = 0;
  uint64_t gid = 0;
  uint64_t size = 0;                // kFile
  Timestamp mtime;
  std::string link;                 // kSymlink: target; kHardLink: name of the other entry
  uint32_t major = 0;
  uint32_t minor = 0;
  std::map<std::string, std::string> xattrs;
};

class TarWriter {
 public:
  explicit TarWriter(Writer& out) : out_(out) {}

  // Writes the header. For a file with a size, exactly that many bytes of content() follow.
  Status Add(const TarEntry& entry);
  Status Content(std::string_view data);
  Status Finish();                  // padding and the end marker

 private:
  Status Pad();
  Writer& out_;
  uint64_t left_ = 0;               // content bytes that must still come
  uint64_t padding_ = 0;
};

// Reads any tar that libarchive reads: ustar, pax, GNU long names and sparse files. With
// `decompress`, compressed input (gzip, bzip2, xz, zstd) is recognised by content. Hostile input gives
// kCorrupt.
class TarReader {
 public:
  struct Limits {
    uint64_t entries = 20'000'000;
    uint64_t bytes = uint64_t{1} << 46;  // of content, all entries together
  };
  TarReader(Reader& in, bool decompress, Limits limits);
  TarReader(Reader& in, bool decompress) : TarReader(in, decompress, Limits()) {}
  ~TarReader();

  // The next entry; nothing at the end. An input that is no tar at all is kCorrupt at the first call.
  Result<std::optional<TarEntry>> Next();
  // Content of the current entry.
  Reader& content();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::archive
