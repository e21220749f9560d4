#include <algorithm>
#include <cstring>
#include <vector>

#include "archive/tar.h"
#include "archive/tar_format.h"

namespace varve::archive {

namespace {

constexpr size_t kInput = 256 << 10;

// Go's isHeaderOnlyType: whatever their size field says, no content follows.
bool HasNoContent(char flag) { return flag >= '1' && flag <= '6'; }

std::optional<EntryType> TypeOf(char flag, const std::string& name) {
  switch (flag) {
    case '\0':
      return name.ends_with('/') ? EntryType::kDirectory : EntryType::kFile;  // v7
    case '0':
    case '7':  // contiguous file: an ordinary one everywhere since
    case 'S':
      return EntryType::kFile;
    case '1':
      return EntryType::kHardLink;
    case '2':
      return EntryType::kSymlink;
    case '3':
      return EntryType::kCharDevice;
    case '4':
      return EntryType::kBlockDevice;
    case '5':
      return EntryType::kDirectory;
    case '6':
      return EntryType::kFifo;
    default:
      return {};
  }
}

Result<uint64_t> ParseUnsigned(std::string_view field, const char* what) {
  TRY_ASSIGN(int64_t value, ParseTarNumber(field));
  if (value < 0 || value > int64_t{1} << 62) return Corrupt("tar: {} is out of range", what);
  return static_cast<uint64_t>(value);
}

}  // namespace

struct TarReader::Impl final : Reader {
  Impl(Reader& source, Limits limit) : in(source), limits(limit), buffer(kInput) {}

  // --- the stream
  // ---------------------------------------------------------------------------------- Up to
  // out.size() bytes; large requests go past the buffer.
  Result<size_t> ReadSome(std::span<char> out) {
    if (at == end) {
      if (out.size() >= kInput / 4) return in.Read(out);
      TRY_ASSIGN(end, in.Read(buffer));
      at = 0;
      if (end == 0) return size_t{0};
    }
    size_t n = std::min(out.size(), end - at);
    std::memcpy(out.data(), buffer.data() + at, n);
    at += n;
    return n;
  }

  // False at a clean end of the stream; kCorrupt when it ends inside the block.
  Result<bool> ReadBlock(TarBlock& block) {
    for (size_t have = 0; have < kTarBlock;) {
      TRY_ASSIGN(size_t n, ReadSome(std::span(block).subspan(have)));
      if (n == 0 && have == 0) return false;
      if (n == 0) return Corrupt("tar: unexpected end of the archive");
      have += n;
    }
    return true;
  }

  Status Skip(uint64_t bytes) {
    while (bytes > 0) {
      if (at == end) {
        TRY_ASSIGN(end, in.Read(buffer));
        at = 0;
        if (end == 0) return Corrupt("tar: unexpected end of the archive");
      }
      uint64_t n = std::min<uint64_t>(bytes, end - at);
      at += n;
      bytes -= n;
    }
    return Ok();
  }

  void KeepRaw(std::string_view bytes) {
    if (raw.size() < 2 * limits.header_bytes) raw.append(bytes);
  }

  Result<std::string> ReadMeta(uint64_t bytes) {
    if (bytes > limits.header_bytes) {
      return Invalid("tar: an extended header has {} bytes, more than the {} that are accepted", bytes,
                     limits.header_bytes);
    }
    std::string text((bytes + kTarBlock - 1) / kTarBlock * kTarBlock, '\0');
    for (size_t have = 0; have < text.size();) {
      TRY_ASSIGN(size_t n, ReadSome(std::span(text).subspan(have)));
      if (n == 0) return Corrupt("tar: unexpected end of the archive");
      have += n;
    }
    KeepRaw(text);
    text.resize(bytes);
    return text;
  }

  // --- headers
  // ------------------------------------------------------------------------------------- False at
  // the end of the archive.
  Result<bool> ReadHeader(TarBlock& block, bool within_entry) {
    TRY_ASSIGN(bool more, ReadBlock(block));
    if (more && !IsZero(block)) {
      KeepRaw({block.data(), kTarBlock});
      return true;
    }
    if (within_entry) return Corrupt("tar: extended header without an entry");
    if (!more) return false;
    TRY_ASSIGN(more, ReadBlock(block));
    if (more && !IsZero(block)) return Corrupt("tar: a lone zero block between entries");
    saw_end_marker = more;
    return false;
  }

  Result<TarEntry> ParseFields(const TarBlock& block, TarFormat format) {
    TarEntry entry;
    entry.name = CString(Field(block, 0, 100));
    entry.link = CString(Field(block, 157, 100));
    TRY_ASSIGN(int64_t mode, ParseTarNumber(Field(block, 100, 8)));
    entry.mode = static_cast<uint32_t>(mode & 07777);
    TRY_ASSIGN(entry.uid, ParseUnsigned(Field(block, 108, 8), "uid"));
    TRY_ASSIGN(entry.gid, ParseUnsigned(Field(block, 116, 8), "gid"));
    TRY_ASSIGN(entry.size, ParseUnsigned(Field(block, 124, 12), "size"));
    TRY_ASSIGN(int64_t seconds, ParseTarNumber(Field(block, 136, 12)));
    entry.mtime = ClampSeconds(seconds, 0);
    if (format == TarFormat::kV7) return entry;
    TRY_ASSIGN(uint64_t major, ParseUnsigned(Field(block, 329, 8), "device number"));
    TRY_ASSIGN(uint64_t minor, ParseUnsigned(Field(block, 337, 8), "device number"));
    if (major > UINT32_MAX || minor > UINT32_MAX) return Corrupt("tar: device number is out of range");
    entry.major = static_cast<uint32_t>(major);
    entry.minor = static_cast<uint32_t>(minor);
    std::string_view prefix;
    if (format == TarFormat::kUstar) prefix = CString(Field(block, 345, 155));
    if (format == TarFormat::kStar) prefix = CString(Field(block, 345, 131));
    // Go before 1.8 wrote a prefix where GNU has times; such layers are still around. As Go: a
    // prefix if the times make no sense and the text does.
    if (format == TarFormat::kGnu &&
        (!ParseTarNumber(Field(block, 345, 12)) || !ParseTarNumber(Field(block, 357, 12)))) {
      std::string_view text = CString(Field(block, 345, 155));
      if (IsPlainAscii(text)) prefix = text;
    }
    if (!prefix.empty()) entry.name = fmt::format("{}/{}", prefix, entry.name);
    return entry;
  }

  // An empty value takes a record back (POSIX pax, "Extended Header Keywords").
  Status ApplyRecords(TarEntry& entry, const PaxRecords& records) {
    for (const auto& [key, value] : records) {
      if (value.empty() && !key.starts_with("SCHILY.xattr.")) continue;
      if (key == "path") {
        entry.name = value;
      } else if (key == "linkpath") {
        entry.link = value;
      } else if (key == "uid") {
        TRY_ASSIGN(entry.uid, ParseDecimal(value));
      } else if (key == "gid") {
        TRY_ASSIGN(entry.gid, ParseDecimal(value));
      } else if (key == "size") {
        TRY_ASSIGN(entry.size, ParseDecimal(value));
      } else if (key == "mtime") {
        TRY_ASSIGN(entry.mtime, ParsePaxTime(value));
      } else if (key.starts_with("SCHILY.xattr.") && key.size() > 13) {
        entry.xattrs[key.substr(13)] = value;
      }
    }
    return Ok();
  }

  // --- sparse files
  // --------------------------------------------------------------------------------
  Status ReadGnuSparse(TarBlock block, TarEntry& entry) {
    TRY_ASSIGN(uint64_t real_size, ParseUnsigned(Field(block, 483, 12), "size"));
    size_t offset = 386, count = 4, more_at = 482;
    while (true) {
      for (size_t i = 0; i < count && block[offset + 24 * i] != 0; ++i) {
        SparseSegment segment;
        TRY_ASSIGN(segment.offset, ParseUnsigned(Field(block, offset + 24 * i, 12), "sparse offset"));
        TRY_ASSIGN(segment.length, ParseUnsigned(Field(block, offset + 24 * i + 12, 12), "sparse length"));
        segments.push_back(segment);
      }
      if (segments.size() > kMaxSparseSegments) return Corrupt("tar: sparse map is too long");
      if (block[more_at] == 0) break;
      TRY_ASSIGN(bool more, ReadBlock(block));
      if (!more) return Corrupt("tar: unexpected end of the archive");
      KeepRaw({block.data(), kTarBlock});
      offset = 0, count = 21, more_at = 504;
    }
    entry.size = real_size;
    return Ok();
  }

  // The map of format 1.0 stands before the data: a count, then offsets and lengths, each on a
  // line, padded to a block.
  Status ReadSparseMap10() {
    std::string text;
    size_t position = 0;
    auto number = [&]() -> Result<uint64_t> {
      while (true) {
        size_t newline = text.find('\n', position);
        if (newline != text.npos) {
          std::string_view line = std::string_view(text).substr(position, newline - position);
          position = newline + 1;
          return ParseDecimal(line);
        }
        if (stored_left < kTarBlock || text.size() - position > 32) {
          return Corrupt("tar: damaged sparse map");
        }
        text.erase(0, position);
        position = 0;
        TarBlock block;
        TRY_ASSIGN(bool more, ReadBlock(block));
        if (!more) return Corrupt("tar: unexpected end of the archive");
        stored_left -= kTarBlock;
        text.append(block.data(), kTarBlock);
      }
    };
    TRY_ASSIGN(uint64_t count, number());
    if (count > kMaxSparseSegments) return Corrupt("tar: sparse map is too long");
    for (uint64_t i = 0; i < count; ++i) {
      SparseSegment segment;
      TRY_ASSIGN(segment.offset, number());
      TRY_ASSIGN(segment.length, number());
      segments.push_back(segment);
    }
    return Ok();
  }

  Status ReadPaxSparse(TarEntry& entry, const PaxRecords& records) {
    auto get = [&](const char* key) {
      auto it = records.find(key);
      return it == records.end() ? std::string() : it->second;
    };
    std::string version = get("GNU.sparse.major") + "." + get("GNU.sparse.minor");
    bool v1 = version == "1.0";
    bool v0 = version == "0.0" || version == "0.1" || (version == "." && records.contains("GNU.sparse.map"));
    if (!v1 && !v0) return Ok();
    if (std::string name = get("GNU.sparse.name"); !name.empty()) entry.name = name;
    std::string size = get("GNU.sparse.size").empty() ? get("GNU.sparse.realsize") : get("GNU.sparse.size");
    sparse = true;
    if (v1) {
      TRY(ReadSparseMap10());
    } else {
      TRY_ASSIGN(segments, ParseSparseMap01(records));
    }
    if (!size.empty()) {
      TRY_ASSIGN(entry.size, ParseDecimal(size));
    }
    return Ok();
  }

  // --- the current entry
  // -----------------------------------------------------------------------------
  Result<size_t> Read(std::span<char> out) override {
    uint64_t left = file_size - file_at;
    if (left == 0 || out.empty()) return size_t{0};
    while (next_segment < segments.size() && file_at >= segments[next_segment].offset + segments[next_segment].length) {
      ++next_segment;
    }
    if (sparse) {
      bool in_hole = next_segment == segments.size() || file_at < segments[next_segment].offset;
      uint64_t stop = in_hole ? (next_segment == segments.size() ? file_size : segments[next_segment].offset)
                              : segments[next_segment].offset + segments[next_segment].length;
      left = stop - file_at;
      if (in_hole) {
        size_t n = std::min<uint64_t>(left, out.size());
        std::memset(out.data(), 0, n);
        file_at += n;
        return n;
      }
    }
    TRY_ASSIGN(size_t n, ReadSome(out.first(std::min<uint64_t>(left, out.size()))));
    if (n == 0) return Corrupt("tar: unexpected end of the archive");
    file_at += n;
    stored_left -= n;
    return n;
  }

  Reader& in;
  const Limits limits;
  std::vector<char> buffer;
  size_t at = 0, end = 0;  // what of the buffer is unread
  PaxRecords global;
  std::string raw;
  bool ended = false, saw_end_marker = false;
  uint64_t entries = 0, total = 0;  // so far, for the limits

  // The current entry: its size as seen, bytes of it still in the stream, padding after them.
  uint64_t file_size = 0, file_at = 0, stored_left = 0, padding = 0;
  bool sparse = false;
  std::vector<SparseSegment> segments;
  size_t next_segment = 0;
};

TarReader::TarReader(Reader& in, Limits limits) : impl_(std::make_unique<Impl>(in, limits)) {}
TarReader::~TarReader() = default;

Reader& TarReader::content() { return *impl_; }
std::string_view TarReader::raw_header() const { return impl_->raw; }

Result<std::optional<TarEntry>> TarReader::Next() {
  Impl& my = *impl_;
  my.raw.clear();
  PaxRecords records;
  std::optional<std::string> gnu_name, gnu_link;
  while (!my.ended) {
    TRY(my.Skip(my.stored_left + my.padding));
    my.file_size = my.file_at = my.stored_left = my.padding = 0;
    my.sparse = false;
    my.segments.clear();
    my.next_segment = 0;

    TarBlock block;
    TRY_ASSIGN(bool more, my.ReadHeader(block, !records.empty() || gnu_name || gnu_link));
    if (!more) {
      my.ended = true;
      break;
    }
    TRY_ASSIGN(TarFormat format, CheckHeader(block));
    TRY_ASSIGN(TarEntry entry, my.ParseFields(block, format));
    char flag = block[156];
    if (flag == 'x' || flag == 'g' || flag == 'L' || flag == 'K') {
      TRY_ASSIGN(std::string text, my.ReadMeta(entry.size));
      if (flag == 'x') {
        records.clear();
        TRY(ParsePaxRecords(text, records));
      } else if (flag == 'g') {
        TRY(ParsePaxRecords(text, my.global));
        // Names and sizes of one file cannot be meant for all.
        std::erase_if(my.global, [](const auto& record) {
          return record.first == "path" || record.first == "linkpath" || record.first == "size" ||
                 record.first.starts_with("GNU.sparse.");
        });
        if (my.global.size() > 10'000) return Corrupt("tar: too many global records");
      } else {
        (flag == 'L' ? gnu_name : gnu_link) = std::string(CString(text));
      }
      continue;
    }
    if (++my.entries > my.limits.entries) {
      return Invalid("archive has more than the {} entries that are accepted", my.limits.entries);
    }
    TRY(my.ApplyRecords(entry, my.global));
    TRY(my.ApplyRecords(entry, records));
    if (gnu_name) entry.name = *gnu_name;
    if (gnu_link) entry.link = *gnu_link;
    uint64_t stored = HasNoContent(flag) ? 0 : entry.size;
    std::optional<EntryType> type = TypeOf(flag, entry.name);
    if (flag == '\0' && type == EntryType::kDirectory) stored = 0;
    my.stored_left = stored;
    my.padding = (kTarBlock - stored % kTarBlock) % kTarBlock;
    if (!type) {
      records.clear();
      gnu_name.reset();
      gnu_link.reset();
      continue;
    }
    entry.type = *type;
    if (flag == 'S') {
      my.sparse = true;
      TRY(my.ReadGnuSparse(block, entry));
    } else if (entry.type == EntryType::kFile) {
      TRY(my.ReadPaxSparse(entry, records));
    } else {
      entry.size = 0;
    }
    if (my.sparse) TRY(CheckSparseMap(my.segments, entry.size, my.stored_left));
    if (entry.size > my.limits.bytes - my.total) {
      return Invalid("archive expands to more than the {} bytes that are accepted", my.limits.bytes);
    }
    my.total += entry.size;
    my.file_size = entry.size;
    if (entry.name.empty()) return Corrupt("tar: entry without a name");
    if (entry.type != EntryType::kSymlink && entry.type != EntryType::kHardLink) entry.link.clear();
    if (entry.type != EntryType::kCharDevice && entry.type != EntryType::kBlockDevice) {
      entry.major = entry.minor = 0;
    }
    return std::optional<TarEntry>(std::move(entry));
  }
  return std::optional<TarEntry>();
}

Result<bool> TarReader::Drain() {
  Impl& my = *impl_;
  CHECK(my.ended);
  bool nothing = my.at == my.end;
  my.at = my.end = 0;
  while (true) {
    TRY_ASSIGN(size_t n, my.in.Read(my.buffer));
    if (n == 0) return nothing && my.saw_end_marker;
    nothing = false;
  }
}

}  // namespace varve::archive
