#include <zstd.h>

#include <vector>

#include "archive/codec_internal.h"

namespace varve::archive {

namespace {

// What one worker takes at a time. The library's own choice makes the process 91 MB large instead
// of 32 on four cores at level 3; it gives 54.6 % instead of 55.7 % of half random, half text.
constexpr int kJobSize = 2 << 20;

class ZstdWriter final : public Compressor {
 public:
  ZstdWriter(Writer& out, int level, size_t threads)
      : out_(out), context_(ZSTD_createCCtx()), buffer_(ZSTD_CStreamOutSize()) {
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1);
    // At least one worker: with workers the output does not depend on their number, without it is
    // another. A library built without threads ignores this.
    ZSTD_CCtx_setParameter(context_, ZSTD_c_nbWorkers, static_cast<int>(threads));
    ZSTD_CCtx_setParameter(context_, ZSTD_c_jobSize, kJobSize);
  }
  ~ZstdWriter() override { ZSTD_freeCCtx(context_); }

  Status Write(std::string_view data) override {
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    while (in.pos < in.size) TRY(Step(in, ZSTD_e_continue));
    return Ok();
  }

  Status Finish() override {
    ZSTD_inBuffer in{nullptr, 0, 0};
    while (true) {
      TRY_ASSIGN(size_t left, Step(in, ZSTD_e_end));
      if (left == 0) return Ok();
    }
  }

 private:
  // Bytes that are still to be flushed.
  Result<size_t> Step(ZSTD_inBuffer& in, ZSTD_EndDirective directive) {
    ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
    size_t left = ZSTD_compressStream2(context_, &out, &in, directive);
    if (ZSTD_isError(left)) return Internal("zstd: {}", ZSTD_getErrorName(left));
    if (out.pos > 0) TRY(out_.Write({buffer_.data(), out.pos}));
    return left;
  }

  Writer& out_;
  ZSTD_CCtx* context_;
  std::vector<char> buffer_;
};

class ZstdReader final : public Reader {
 public:
  explicit ZstdReader(Reader& in)
      : in_(in), context_(ZSTD_createDCtx()), input_(ZSTD_DStreamInSize()) {}
  ~ZstdReader() override { ZSTD_freeDCtx(context_); }

  Result<size_t> Read(std::span<char> buffer) override {
    while (true) {
      if (in_buffer_.pos == in_buffer_.size && !ended_) {
        TRY_ASSIGN(size_t n, in_.Read(input_));
        in_buffer_ = {input_.data(), n, 0};
        ended_ = n == 0;
      }
      ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
      bool starved = ended_ && in_buffer_.pos == in_buffer_.size;
      if (starved && frame_done_) return size_t{0};
      size_t left = ZSTD_decompressStream(context_, &out, &in_buffer_);
      if (ZSTD_isError(left)) return Corrupt("zstd: {}", ZSTD_getErrorName(left));
      frame_done_ = left == 0;
      if (out.pos > 0) return out.pos;
      if (starved && !frame_done_) return Corrupt("zstd: unexpected end of data");
    }
  }

 private:
  Reader& in_;
  ZSTD_DCtx* context_;
  std::vector<char> input_;
  ZSTD_inBuffer in_buffer_{nullptr, 0, 0};
  bool ended_ = false;
  bool frame_done_ = false;
};

}  // namespace

std::unique_ptr<Compressor> MakeZstdWriter(Writer& out, int level, size_t threads) {
  return std::make_unique<ZstdWriter>(out, level, threads);
}

std::unique_ptr<Reader> MakeZstdReader(Reader& in) { return std::make_unique<ZstdReader>(in); }

}  // namespace varve::archive
