#include "archive/gunzip_writer.h"

#include <zlib.h>

#include <array>

namespace varve::archive {

namespace {

constexpr int kGzipOnly = 16 + MAX_WBITS;

}  // namespace

struct GunzipWriter::State {
  State() { CHECK(inflateInit2(&stream, kGzipOnly) == Z_OK); }
  ~State() { inflateEnd(&stream); }

  z_stream stream{};
  std::array<char, 64 << 10> unpacked;
};

GunzipWriter::GunzipWriter(Writer& out) : out_(out), state_(std::make_unique<State>()) {}
GunzipWriter::~GunzipWriter() = default;

Status GunzipWriter::Write(std::string_view data) {
  z_stream& stream = state_->stream;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  bool full = false;  // there may be more to come without further input
  while (stream.avail_in > 0 || full) {
    if (at_end_) {
      inflateReset(&stream);
      at_end_ = false;
    }
    stream.next_out = reinterpret_cast<Bytef*>(state_->unpacked.data());
    stream.avail_out = static_cast<uInt>(state_->unpacked.size());
    const int code = inflate(&stream, Z_NO_FLUSH);
    if (code == Z_BUF_ERROR) return Ok();
    if (code != Z_OK && code != Z_STREAM_END) return Corrupt("it is no gzip, or damaged");
    at_end_ = code == Z_STREAM_END;
    full = stream.avail_out == 0 && !at_end_;
    TRY(out_.Write({state_->unpacked.data(), state_->unpacked.size() - stream.avail_out}));
  }
  return Ok();
}

Status GunzipWriter::Finish() { return at_end_ ? Status(Ok()) : Corrupt("its gzip ends too early"); }

}  // namespace varve::archive
