#include "archive/codec.h"

#include <cstring>

#include "archive/codec_internal.h"
#include "base/thread_pool.h"

namespace varve::archive {

namespace {

// Gives back the bytes that were read to recognise the stream. Owns the codec on top of it.
class Peeked final : public Reader {
 public:
  explicit Peeked(Reader& in) : in_(in) {}

  Status Peek() {
    while (size_ < sizeof(head_)) {
      TRY_ASSIGN(size_t n, in_.Read(std::span(head_ + size_, sizeof(head_) - size_)));
      if (n == 0) break;
      size_ += n;
    }
    return Ok();
  }
  std::string_view head() const { return {head_, size_}; }

  Result<size_t> Read(std::span<char> buffer) override {
    if (at_ == size_) return in_.Read(buffer);
    size_t n = std::min(size_ - at_, buffer.size());
    std::memcpy(buffer.data(), head_ + at_, n);
    at_ += n;
    return n;
  }

 private:
  Reader& in_;
  char head_[4];
  size_t size_ = 0, at_ = 0;
};

class Decompressor final : public Reader {
 public:
  explicit Decompressor(Reader& in) : peeked_(in) {}
  Status Start() {
    TRY(peeked_.Peek());
    switch (Detect(peeked_.head())) {
      case Compression::kGzip: codec_ = MakeGzipReader(peeked_); break;
      case Compression::kZstd: codec_ = MakeZstdReader(peeked_); break;
      case Compression::kNone: break;
    }
    return Ok();
  }
  Result<size_t> Read(std::span<char> buffer) override {
    return codec_ ? codec_->Read(buffer) : peeked_.Read(buffer);
  }

 private:
  Peeked peeked_;
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

}  // namespace

std::string_view CompressionName(Compression compression) {
  switch (compression) {
    case Compression::kNone: return "uncompressed";
    case Compression::kGzip: return "gzip";
    case Compression::kZstd: return "zstd";
  }
  return "uncompressed";
}

Compression Detect(std::string_view head) {
  if (head.starts_with("\x1f\x8b")) return Compression::kGzip;
  if (head.starts_with("\x28\xb5\x2f\xfd")) return Compression::kZstd;
  // A skippable frame (RFC 8878 §3.1.2) may come first: 0x184D2A50 to 0x184D2A5F.
  if (head.size() >= 4 && (static_cast<unsigned char>(head[0]) & 0xf0) == 0x50 &&
      head.substr(1, 3) == "\x2a\x4d\x18") {
    return Compression::kZstd;
  }
  return Compression::kNone;
}

Result<std::unique_ptr<Reader>> MakeDecompressor(Reader& in) {
  auto decompressor = std::make_unique<Decompressor>(in);
  TRY(decompressor->Start());
  return std::unique_ptr<Reader>(std::move(decompressor));
}

std::unique_ptr<Compressor> MakeCompressor(Writer& out, Compression compression,
                                           std::optional<int> level, size_t threads) {
  if (threads == 0) threads = CpuCount();
  switch (compression) {
    case Compression::kGzip: return MakeGzipWriter(out, level, threads);
    case Compression::kZstd: return MakeZstdWriter(out, level, threads);
    case Compression::kNone: break;
  }
  return std::make_unique<PassThrough>(out);
}

}  // namespace varve::archive
