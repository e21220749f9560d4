#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "archive/tar.h"

namespace varve::archive {

namespace {
constexpr size_t kInput = 256 << 10;
}

struct TarReader::Impl final : Reader {
  Impl(Reader& source, bool decompress, Limits limit) : in(source), limits(limit), buffer(kInput) {
    archive = archive_read_new();
    CHECK(archive != nullptr);
    archive_read_support_format_tar(archive);
    if (decompress) {
      archive_read_support_filter_gzip(archive);
      archive_read_support_filter_bzip2(archive);
      archive_read_support_filter_xz(archive);
      archive_read_support_filter_zstd(archive);
    }
  }
  ~Impl() override { archive_read_free(archive); }

  static la_ssize_t OnRead(struct archive* a, void* self, const void** data) {
    auto* impl = static_cast<Impl*>(self);
    auto n = impl->in.Read(impl->buffer);
    if (!n) {
      impl->input_error = std::move(n).error();
      archive_set_error(a, EIO, "input failed");
      return -1;
    }
    *data = impl->buffer.data();
    return static_cast<la_ssize_t>(*n);
  }

  Error Failure() {
    if (input_error) return *input_error;
    const char* text = archive_error_string(archive);
    return Corrupt("tar: {}", text ? text : "unreadable");
  }

  Status Open() {
    if (opened) return Ok();
    opened = true;
    if (archive_read_open2(archive, this, nullptr, OnRead, nullptr, nullptr) != ARCHIVE_OK) {
      return Failure();
    }
    return Ok();
  }

  Result<size_t> Read(std::span<char> out) override {
    while (true) {
      la_ssize_t n = archive_read_data(archive, out.data(), out.size());
      if (n == ARCHIVE_RETRY) continue;
      if (n < 0) return Failure();
      bytes += static_cast<uint64_t>(n);
      if (bytes > limits.bytes) {
        return Invalid("archive expands to more than the {} bytes that are accepted", limits.bytes);
      }
      return static_cast<size_t>(n);
    }
  }

  Reader& in;
  Limits limits;
  std::vector<char> buffer;
  struct archive* archive;
  bool opened = false;
  std::optional<Error> input_error;
  uint64_t entries = 0;
  uint64_t bytes = 0;
};

TarReader::TarReader(Reader& in, bool decompress, Limits limits)
    : impl_(std::make_unique<Impl>(in, decompress, limits)) {}
TarReader::~TarReader() = default;

Reader& TarReader::content() { return *impl_; }

Result<std::optional<TarEntry>> TarReader::Next() {
  TRY(impl_->Open());
  archive_entry* raw = nullptr;
  int code = archive_read_next_header(impl_->archive, &raw);
  if (code == ARCHIVE_EOF) return std::optional<TarEntry>();
  // WARN: a name that is no UTF-8 in the C locale, and the like; the entry is usable.
  if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return impl_->Failure();
  if (++impl_->entries > impl_->limits.entries) {
    return Invalid("archive has more than the {} entries that are accepted", impl_->limits.entries);
  }
  TarEntry entry;
  const char* name = archive_entry_pathname(raw);
  if (name == nullptr) return Corrupt("tar: entry without a name");
  entry.name = name;
  entry.mode = archive_entry_perm(raw) & 07777;
  entry.uid = static_cast<uint64_t>(std::max<int64_t>(0, archive_entry_uid(raw)));
  entry.gid = static_cast<uint64_t>(std::max<int64_t>(0, archive_entry_gid(raw)));
  entry.mtime = {archive_entry_mtime(raw) * 1'000'000'000 + archive_entry_mtime_nsec(raw)};
  if (const char* link = archive_entry_hardlink(raw)) {
    entry.type = EntryType::kHardLink;
    entry.link = link;
  } else {
    switch (archive_entry_filetype(raw)) {
      case AE_IFREG:
        entry.type = EntryType::kFile;
        entry.size = static_cast<uint64_t>(std::max<int64_t>(0, archive_entry_size(raw)));
        break;
      case AE_IFLNK: {
        entry.type = EntryType::kSymlink;
        const char* target = archive_entry_symlink(raw);
        entry.link = target ? target : "";
        break;
      }
      case AE_IFCHR: entry.type = EntryType::kCharDevice; break;
      case AE_IFBLK: entry.type = EntryType::kBlockDevice; break;
      case AE_IFDIR: entry.type = EntryType::kDirectory; break;
      case AE_IFIFO: entry.type = EntryType::kFifo; break;
      default: return Corrupt("tar: {} has an unknown type", entry.name);
    }
  }
  entry.major = static_cast<uint32_t>(archive_entry_rdevmajor(raw));
  entry.minor = static_cast<uint32_t>(archive_entry_rdevminor(raw));
  archive_entry_xattr_reset(raw);
  const char* key = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(raw, &key, &value, &size) == ARCHIVE_OK) {
    entry.xattrs[key] = std::string(static_cast<const char*>(value), size);
  }
  return std::optional<TarEntry>(std::move(entry));
}

}  // namespace varve::archive
