// bzip2 and xz by their own libraries: read only, and only for ADD.
#include <bzlib.h>
#include <lzma.h>

#include <algorithm>
#include <vector>

#include "archive/codec_internal.h"

namespace varve::archive {

namespace {

constexpr size_t kInputBytes = 256 << 10;

Error Damaged(Compression compression, std::string_view what) {
  return Corrupt("{}: {}", CompressionName(compression), what);
}

// Several streams, one after the other, are one (bzip2(1), as parallel compressors write them).
class Bzip2Reader final : public Reader {
 public:
  explicit Bzip2Reader(Reader& in) : in_(in), input_(kInputBytes) {}
  ~Bzip2Reader() override {
    if (open_) BZ2_bzDecompressEnd(&stream_);
  }
  Bzip2Reader(const Bzip2Reader&) = delete;

  Result<size_t> Read(std::span<char> buffer) override {
    if (buffer.empty()) return size_t{0};
    stream_.next_out = buffer.data();
    stream_.avail_out = static_cast<unsigned>(std::min<size_t>(buffer.size(), 1 << 30));
    const unsigned room = stream_.avail_out;
    while (stream_.avail_out == room) {
      if (stream_.avail_in == 0) TRY(Fill());
      if (!open_) {
        if (stream_.avail_in == 0) return size_t{0};
        TRY(Open());
      }
      if (stream_.avail_in == 0) return Damaged(Compression::kBzip2, "truncated stream");
      int code = BZ2_bzDecompress(&stream_);
      if (code == BZ_STREAM_END) {
        Close();
      } else if (code == BZ_MEM_ERROR) {
        return Resource("bzip2: out of memory");
      } else if (code != BZ_OK) {
        return Damaged(Compression::kBzip2, "damaged stream");
      }
    }
    return room - stream_.avail_out;
  }

 private:
  Status Fill() {
    TRY_ASSIGN(size_t n, in_.Read(input_));
    stream_.next_in = input_.data();
    stream_.avail_in = static_cast<unsigned>(n);
    return Ok();
  }

  // The library begins a stream with what is left of the input, and forgets the output.
  Status Open() {
    bz_stream fresh = {};
    fresh.next_in = stream_.next_in, fresh.avail_in = stream_.avail_in;
    fresh.next_out = stream_.next_out, fresh.avail_out = stream_.avail_out;
    stream_ = fresh;
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) return Resource("bzip2: out of memory");
    open_ = true;
    return Ok();
  }
  void Close() {
    BZ2_bzDecompressEnd(&stream_);
    open_ = false;
  }

  Reader& in_;
  std::vector<char> input_;
  bz_stream stream_ = {};
  bool open_ = false;
};

class XzReader final : public Reader {
 public:
  explicit XzReader(Reader& in) : in_(in), input_(kInputBytes) {
    // Concatenated streams and padding are read; no limit of memory, since the largest dictionary
    // of xz's levels is 64 MiB and the format ends at 4 GiB.
    code_ = lzma_stream_decoder(&stream_, UINT64_MAX, LZMA_CONCATENATED);
  }
  ~XzReader() override { lzma_end(&stream_); }
  XzReader(const XzReader&) = delete;

  Result<size_t> Read(std::span<char> buffer) override {
    if (buffer.empty()) return size_t{0};
    stream_.next_out = reinterpret_cast<uint8_t*>(buffer.data());
    stream_.avail_out = buffer.size();
    while (stream_.avail_out == buffer.size() && code_ == LZMA_OK) {
      if (stream_.avail_in == 0 && !input_ended_) TRY(Fill());
      code_ = lzma_code(&stream_, input_ended_ ? LZMA_FINISH : LZMA_RUN);
    }
    size_t n = buffer.size() - stream_.avail_out;
    if (n > 0 || code_ == LZMA_STREAM_END) return n;
    switch (code_) {
      case LZMA_MEM_ERROR:
        return Resource("xz: out of memory");
      case LZMA_BUF_ERROR:
        return Damaged(Compression::kXz, "truncated stream");
      case LZMA_OPTIONS_ERROR:
        return Damaged(Compression::kXz, "a filter that liblzma lacks");
      default:
        return Damaged(Compression::kXz, "damaged stream");
    }
  }

 private:
  Status Fill() {
    TRY_ASSIGN(size_t n, in_.Read(input_));
    stream_.next_in = reinterpret_cast<const uint8_t*>(input_.data());
    stream_.avail_in = n;
    input_ended_ = n == 0;
    return Ok();
  }

  Reader& in_;
  std::vector<char> input_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  lzma_ret code_;
  bool input_ended_ = false;
};

}  // namespace

std::unique_ptr<Reader> MakeBzip2Reader(Reader& in) { return std::make_unique<Bzip2Reader>(in); }
std::unique_ptr<Reader> MakeXzReader(Reader& in) { return std::make_unique<XzReader>(in); }

}  // namespace varve::archive
