#include "archive/codec.h"

#include <algorithm>
#include <cstring>

#include "archive/codec_internal.h"
#include "base/thread_pool.h"

namespace varve::archive {

namespace {

// Gives back the bytes that were read to recognise the stream, and counts what is read.
class PeekedReader final : public Reader {
 public:
  explicit PeekedReader(Reader& in) : in_(in) {}

  Status Peek() {
    while (size_ < sizeof(head_)) {
      TRY_ASSIGN(size_t n, in_.Read(std::span(head_ + size_, sizeof(head_) - size_)));
      if (n == 0) break;
      size_ += n;
    }
    count_ = size_;
    return Ok();
  }
  std::string_view head() const { return {head_, size_}; }
  uint64_t count() const { return count_; }

  Result<size_t> Read(std::span<char> buffer) override {
    if (at_ == size_) {
      TRY_ASSIGN(size_t read, in_.Read(buffer));
      count_ += read;
      return read;
    }
    size_t n = std::min(size_ - at_, buffer.size());
    std::memcpy(buffer.data(), head_ + at_, n);
    at_ += n;
    return n;
  }

 private:
  Reader& in_;
  char head_[kDetectBytes];
  size_t size_ = 0, at_ = 0;
  uint64_t count_ = 0;
};

// Owns the codec and what it reads from, and stops bombs.
class Decompressor final : public Reader {
 public:
  Decompressor(Reader& in, ExpansionLimits limits) : peeked_(in), limits_(limits) {}

  Status Start() {
    TRY(peeked_.Peek());
    Compression compression = Detect(peeked_.head());
    switch (compression) {
      case Compression::kGzip:
        codec_ = MakeGzipReader(peeked_);
        break;
      case Compression::kZstd:
        codec_ = MakeZstdReader(peeked_);
        break;
      case Compression::kBzip2:
        codec_ = MakeBzip2Reader(peeked_);
        break;
      case Compression::kXz:
        codec_ = MakeXzReader(peeked_);
        break;
      case Compression::kNone:
        break;
    }
    return Ok();
  }

  Result<size_t> Read(std::span<char> buffer) override {
    constexpr uint64_t kRatioFrom = 64 << 20;
    if (!codec_) return peeked_.Read(buffer);
    TRY_ASSIGN(size_t n, codec_->Read(buffer));
    written_ += n;
    if (written_ > limits_.bytes) {
      return Invalid("compressed data expands to more than the {} bytes that are accepted", limits_.bytes);
    }
    if (written_ > kRatioFrom && static_cast<double>(written_) > limits_.ratio * static_cast<double>(peeked_.count())) {
      return Invalid("compressed data expands to more than {:.0f} times its size", limits_.ratio);
    }
    return n;
  }

 private:
  PeekedReader peeked_;
  const ExpansionLimits limits_;
  uint64_t written_ = 0;
  std::unique_ptr<Reader> codec_;
};

class PassThrough final : public Compressor {
 public:
  explicit PassThrough(Writer& out) : out_(out) {}
  Status Write(std::string_view data) override { return out_.Write(data); }
  Status Finish() override { return Ok(); }

 private:
  Writer& out_;
};

Result<int> CheckLevel(Compression compression, std::optional<int> level, int usual, int least, int most) {
  int chosen = level.value_or(usual);
  if (chosen >= least && chosen <= most) return chosen;
  Error error = Invalid("compression level {} is out of range", chosen);
  error.hint = fmt::format("{} has the levels {} to {}", CompressionName(compression), least, most);
  return error;
}

}  // namespace

std::string_view CompressionName(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "uncompressed";
    case Compression::kGzip:
      return "gzip";
    case Compression::kZstd:
      return "zstd";
    case Compression::kBzip2:
      return "bzip2";
    case Compression::kXz:
      return "xz";
  }
  return "uncompressed";
}

Compression Detect(std::string_view head) {
  // The third byte is the method; deflate is the only one ever used.
  if (head.starts_with("\x1f\x8b\x08")) return Compression::kGzip;
  if (head.starts_with("\x28\xb5\x2f\xfd")) return Compression::kZstd;
  // A skippable frame (RFC 8878 §3.1.2) may come first: 0x184D2A50 to 0x184D2A5F.
  if (head.size() >= 4 && (static_cast<unsigned char>(head[0]) & 0xf0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18") {
    return Compression::kZstd;
  }
  if (head.starts_with("BZh") && head.size() > 3 && head[3] >= '1' && head[3] <= '9') {
    return Compression::kBzip2;
  }
  if (head.starts_with(std::string_view("\xfd"
                                        "7zXZ\0",
                                        6)))
    return Compression::kXz;
  return Compression::kNone;
}

Result<std::unique_ptr<Reader>> MakeDecompressor(Reader& in, ExpansionLimits limits) {
  auto decompressor = std::make_unique<Decompressor>(in, limits);
  TRY(decompressor->Start());
  return std::unique_ptr<Reader>(std::move(decompressor));
}

Result<std::unique_ptr<Compressor>> MakeCompressor(Writer& out, Compression compression, std::optional<int> level,
                                                   size_t threads) {
  if (threads == 0) threads = CpuCount();
  switch (compression) {
    case Compression::kGzip: {
      TRY_ASSIGN(int chosen, CheckLevel(compression, level, 6, 0, 9));
      return MakeGzipWriter(out, chosen, threads);
    }
    case Compression::kZstd: {
      TRY_ASSIGN(int chosen, CheckLevel(compression, level, 3, 1, 22));
      return MakeZstdWriter(out, chosen, threads);
    }
    case Compression::kNone:
      return std::unique_ptr<Compressor>(std::make_unique<PassThrough>(out));
    case Compression::kBzip2:
    case Compression::kXz:
      break;
  }
  Error error = Invalid("cannot compress with {}", CompressionName(compression));
  error.hint = "use uncompressed, gzip or zstd";
  return error;
}

}  // namespace varve::archive
