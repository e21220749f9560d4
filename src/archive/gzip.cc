// gzip (RFC 1952) on all cores, in one member that every reader accepts.
//
// The input is cut into chunks of 1 MiB; each is deflated on its own and ended by a full flush, so
// that the pieces can be put one after the other; checksums are combined. What is lost against one
// stream is the window at each start: 0.5 % on C headers with zlib's level 6. The format has no place
// for a time or name here: equal input gives equal output.
#include <isa-l.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "archive/codec.h"
#include "archive/codec_internal.h"
#include "archive/piecewise.h"

namespace varve::archive {

namespace {

constexpr size_t kChunk = 1 << 20;

// ISA-L's level for gzip's 1 to 6.
int IsalLevel(int level) { return level <= 1 ? 1 : level <= 3 ? 2 : 3; }

// Raw deflate of one chunk, ended by a full flush on a byte boundary.
Status DeflateIsal(Piece& piece, int level) {
  static constexpr uint32_t kBufferSize[] = {ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT,
                                             ISAL_DEF_LVL3_DEFAULT};
  const std::string& chunk = piece.chunk;
  std::vector<uint8_t>& work = piece.work;
  std::string& out = piece.out;
  work.resize(std::max<uint32_t>(kBufferSize[level], 1));
  out.resize(std::max(out.size(), chunk.size() + chunk.size() / 100 + 4096));
  isal_zstream stream;
  isal_deflate_init(&stream);
  stream.level = static_cast<uint32_t>(level);
  stream.level_buf = work.data();
  stream.level_buf_size = static_cast<uint32_t>(work.size());
  stream.flush = FULL_FLUSH;
  stream.end_of_stream = 0;
  stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(chunk.data()));
  stream.avail_in = static_cast<uint32_t>(chunk.size());
  size_t used = 0;
  do {
    if (out.size() - used < 4096) out.resize(out.size() * 2);
    stream.next_out = reinterpret_cast<uint8_t*>(out.data() + used);
    stream.avail_out = static_cast<uint32_t>(out.size() - used);
    uint32_t before = stream.avail_out;
    if (isal_deflate(&stream) != COMP_OK) return Internal("gzip: deflate failed");
    used += before - stream.avail_out;
  } while (stream.avail_in > 0 || stream.avail_out == 0);
  piece.used = used;
  return Ok();
}

Status DeflateZlib(Piece& piece, int level) {
  const std::string& chunk = piece.chunk;
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Internal("gzip: deflateInit failed");
  }
  std::string& out = piece.out;
  out.resize(std::max<size_t>(out.size(), deflateBound(&stream, chunk.size()) + 64));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(chunk.data()));
  stream.avail_in = static_cast<uInt>(chunk.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  int code = deflate(&stream, Z_FULL_FLUSH);
  piece.used = stream.total_out;
  deflateEnd(&stream);
  if (code != Z_OK) return Internal("gzip: deflate failed");
  return Ok();
}

class GzipWriter final : public Compressor {
 public:
  GzipWriter(Writer& out, int level, size_t threads)
      : out_(out), pieces_(
                       kChunk, threads, [level](Piece& piece) { return Deflate(piece, level); },
                       [this](const Piece& piece) { return Pass(piece); }) {}

  Status Write(std::string_view data) override { return pieces_.Write(data); }

  Status Finish() override {
    TRY(pieces_.Finish());
    TRY(Header());
    // An empty last block with fixed codes, then checksum and length.
    std::string tail("\x03\x00", 2);
    for (uint32_t value : {static_cast<uint32_t>(crc_), static_cast<uint32_t>(size_)}) {
      for (int shift = 0; shift < 32; shift += 8) tail += static_cast<char>(value >> shift & 255);
    }
    return out_.Write(tail);
  }

 private:
  static Status Deflate(Piece& piece, int level) {
    piece.crc = crc32_gzip_refl(0, reinterpret_cast<const unsigned char*>(piece.chunk.data()), piece.chunk.size());
    return level >= 1 && level <= 6 ? DeflateIsal(piece, IsalLevel(level)) : DeflateZlib(piece, level);
  }

  Status Header() {
    if (std::exchange(header_written_, true)) return Ok();
    // No flags, no time, no extra flags, operating system unknown.
    return out_.Write(std::string_view("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", 10));
  }

  Status Pass(const Piece& piece) {
    TRY(Header());
    crc_ = crc32_combine(crc_, piece.crc, static_cast<z_off_t>(piece.chunk.size()));
    size_ += piece.chunk.size();
    return out_.Write(std::string_view(piece.out).substr(0, piece.used));
  }

  Writer& out_;
  bool header_written_ = false;
  uLong crc_ = 0;
  uint64_t size_ = 0;
  PiecewiseWriter pieces_;
};

// Any number of members; bytes after the last member that do not begin another are an error, except
// zero padding.
class GzipReader final : public Reader {
 public:
  explicit GzipReader(Reader& in) : in_(in), input_(256 << 10) { Restart(); }

  Result<size_t> Read(std::span<char> buffer) override {
    while (true) {
      if (state_.block_state == ISAL_BLOCK_FINISH) {
        TRY_ASSIGN(bool more, NextMember());
        if (!more) return size_t{0};
      }
      if (state_.avail_in == 0) TRY(Fill());
      state_.next_out = reinterpret_cast<uint8_t*>(buffer.data());
      state_.avail_out = static_cast<uint32_t>(std::min<size_t>(buffer.size(), UINT32_MAX));
      bool starved = state_.avail_in == 0;
      int code = isal_inflate(&state_);
      if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT) return Corrupt("gzip: damaged stream");
      size_t n = reinterpret_cast<char*>(state_.next_out) - buffer.data();
      if (n > 0) return n;
      if (starved && state_.block_state != ISAL_BLOCK_FINISH) {
        return Corrupt("gzip: unexpected end of data");
      }
    }
  }

 private:
  void Restart() {
    uint8_t* next = state_.next_in;
    uint32_t available = state_.avail_in;
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP;
    state_.next_in = next;
    state_.avail_in = available;
  }

  Status Fill() {
    if (ended_) return Ok();
    TRY_ASSIGN(size_t n, in_.Read(input_));
    ended_ = n == 0;
    state_.next_in = reinterpret_cast<uint8_t*>(input_.data());
    state_.avail_in = static_cast<uint32_t>(n);
    return Ok();
  }

  Result<bool> NextMember() {
    while (true) {
      if (state_.avail_in == 0) TRY(Fill());
      if (state_.avail_in == 0) return false;
      if (*state_.next_in != 0) break;
      ++state_.next_in;
      --state_.avail_in;
    }
    if (*state_.next_in != 0x1f) return Corrupt("gzip: data after the end of the stream");
    Restart();
    return true;
  }

  Reader& in_;
  std::vector<char> input_;
  bool ended_ = false;
  inflate_state state_{};
};

}  // namespace

std::unique_ptr<Compressor> MakeGzipWriter(Writer& out, int level, size_t threads) {
  return std::make_unique<GzipWriter>(out, level, threads);
}

std::unique_ptr<Reader> MakeGzipReader(Reader& in) { return std::make_unique<GzipReader>(in); }

}  // namespace varve::archive
