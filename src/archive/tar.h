// Layer tars: written byte for byte as the field writes them, read whatever wrote them.
//
// Format written: POSIX pax (IEEE 1003.1), in the exact form of Go's archive/tar as containerd uses
// it (reference exporters.md §7): mtime truncated to the second, no atime or ctime, no user or
// group names, a pax header only for what does not fit into the ustar fields. A diff id is the
// digest of these bytes, so two builders that see the same files name the same layer.
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
  std::string name;  // relative; as read: not cleaned, may be hostile
  EntryType type = EntryType::kFile;
  uint32_t mode = 0;  // 07777 bits
  uint64_t uid = 0;
  uint64_t gid = 0;
  uint64_t size = 0;  // kFile
  Timestamp mtime;
  std::string link;  // kSymlink: target; kHardLink: name of the other entry
  uint32_t major = 0;
  uint32_t minor = 0;
  std::map<std::string, std::string> xattrs;
};

// How a name of more than 100 bytes is written. Go chooses ustar's split prefix unless it was told
// to write pax; containerd tells it for everything except whiteouts.
enum class LongNames { kPax, kUstarIfFits };

class TarWriter {
 public:
  explicit TarWriter(Writer& out) : out_(out) {}

  // Writes the header. For a file with a size, exactly that many bytes of Content() follow.
  Status Add(const TarEntry& entry, LongNames names = LongNames::kPax);
  Status Content(std::string_view data);
  Status Finish();  // padding and the end marker

 private:
  Status Pad();
  Writer& out_;
  uint64_t left_ = 0;  // content bytes that must still come
  uint64_t padding_ = 0;
};

// The header blocks that TarWriter::Add writes.
std::string EncodeTarHeader(const TarEntry& entry, LongNames names = LongNames::kPax);

// A tar without any entry: the layer of a step that changes nothing.
inline constexpr size_t kEmptyTarSize = 1024;

// Reads v7, ustar, pax (local and global headers), star, GNU long names and links, base-256
// numbers, and sparse files of GNU (old format and pax 0.0, 0.1, 1.0), with the leniency of Go's
// reader, which decides what the field accepts: a stream that ends cleanly before a header needs no
// end marker. Entries of unknown types are skipped. Nothing is buffered but headers. Hostile input
// gives kCorrupt; what exceeds the limits gives kInvalid.
//
//   TarReader tar(in);
//   while (true) {
//     TRY_ASSIGN(auto entry, tar.Next());
//     if (!entry) break;
//     TRY(Copy(tar.content(), file));
//   }
class TarReader {
 public:
  struct Limits {
    uint64_t entries = 20'000'000;
    uint64_t bytes = uint64_t{1} << 46;  // of content, holes included, all entries together
    uint64_t header_bytes = 1 << 20;     // of one entry's pax or GNU headers (Go: the same)
  };
  explicit TarReader(Reader& in) : TarReader(in, Limits()) {}
  TarReader(Reader& in, Limits limits);
  ~TarReader();

  // The next entry; nothing at the end. What is left of the last entry's content is skipped.
  Result<std::optional<TarEntry>> Next();
  // Content of the current entry.
  Reader& content();
  // The blocks that announced the current entry, pax headers and skipped entries included: equal to
  // EncodeTarHeader(entry) when the entry is in the form that TarWriter writes.
  std::string_view raw_header() const;
  // After the last entry: reads the rest of the stream. True when nothing followed the two zero
  // blocks of the end marker, and they were there.
  Result<bool> Drain();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::archive
