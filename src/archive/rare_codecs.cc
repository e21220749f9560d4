// bzip2 and xz through libarchive's filters: read only, and only for ADD.
#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <optional>
#include <vector>

#include "archive/codec_internal.h"

namespace varve::archive {

namespace {

class RareReader final : public Reader {
 public:
  RareReader(Reader& in, Compression compression)
      : in_(in),
        name_(CompressionName(compression)),
        input_(256 << 10),
        archive_(archive_read_new()) {
    CHECK(archive_ != nullptr);
    archive_read_support_format_raw(archive_);
    // The filter was recognised before; to name it keeps libarchive from peeling a second one.
    if (compression == Compression::kXz) {
      archive_read_support_filter_xz(archive_);
    } else {
      archive_read_support_filter_bzip2(archive_);
    }
  }
  ~RareReader() override { archive_read_free(archive_); }
  RareReader(const RareReader&) = delete;

  Result<size_t> Read(std::span<char> buffer) override {
    if (!opened_) {
      TRY(Open());
      opened_ = true;
    }
    if (ended_) return size_t{0};
    la_ssize_t n;
    do {
      n = archive_read_data(archive_, buffer.data(), buffer.size());
    } while (n == ARCHIVE_RETRY);
    if (n < 0) return Failure();
    ended_ = n == 0 && !buffer.empty();
    return static_cast<size_t>(n);
  }

 private:
  static la_ssize_t OnRead(struct archive* a, void* self, const void** data) {
    auto* reader = static_cast<RareReader*>(self);
    auto n = reader->in_.Read(reader->input_);
    if (!n) {
      reader->input_error_ = std::move(n).error();
      archive_set_error(a, EIO, "input failed");
      return -1;
    }
    *data = reader->input_.data();
    return static_cast<la_ssize_t>(*n);
  }

  Status Open() {
    archive_entry* entry = nullptr;
    int code = archive_read_open2(archive_, this, nullptr, OnRead, nullptr, nullptr);
    if (code == ARCHIVE_OK) code = archive_read_next_header(archive_, &entry);
    // The raw format has no entry for empty content.
    if (code == ARCHIVE_EOF) {
      ended_ = true;
      return Ok();
    }
    if (code != ARCHIVE_OK) return Failure();
    if (archive_filter_count(archive_) < 2) return Corrupt("{}: damaged stream", name_);
    return Ok();
  }

  Error Failure() {
    if (input_error_) return *input_error_;
    const char* text = archive_error_string(archive_);
    return Corrupt("{}: {}", name_, text ? text : "damaged stream");
  }

  Reader& in_;
  const std::string_view name_;
  std::vector<char> input_;
  struct archive* archive_;
  bool opened_ = false, ended_ = false;
  std::optional<Error> input_error_;
};

}  // namespace

std::unique_ptr<Reader> MakeRareReader(Reader& in, Compression compression) {
  return std::make_unique<RareReader>(in, compression);
}

}  // namespace varve::archive
