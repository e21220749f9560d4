// Compression of layers: gzip (ISA-L, on all cores) and zstd; reading also of bzip2 and xz, which
// only ADD meets.
//
// The compressed bytes depend on the level, the library's version and (gzip: ISA-L chooses its
// match finder by it) the CPU's generation, not on the number of threads or the sizes of the
// writes. Decompressors verify the stream's own checksums; a truncated stream is kCorrupt, unless it ends
// where a gzip member or a zstd frame does (zstd of the levels 1 to 5 has one for each 2 MiB): blobs are
// verified by their digest.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>

#include "base/io.h"
#include "base/result.h"

namespace varve::archive {

enum class Compression { kNone, kGzip, kZstd, kBzip2, kXz };

std::string_view CompressionName(Compression compression);
// By the first bytes. Fewer than kDetectBytes are enough for what is shorter than that.
Compression Detect(std::string_view head);
inline constexpr size_t kDetectBytes = 6;

// Against decompression bombs. Beyond a limit reading fails with kInvalid.
struct ExpansionLimits {
  uint64_t bytes = std::numeric_limits<uint64_t>::max();  // of output
  // Output per byte of input, looked at from 64 MiB of output on. Deflate ends at 1032, so the
  // default only stops formats that know no such bound.
  double ratio = std::numeric_limits<double>::infinity();
};

// The uncompressed stream; the compression is recognised by content. Several gzip members or zstd
// frames are one stream; zeros after a gzip member are padding, anything else that starts no member
// is kCorrupt (as in Go, except for the zeros).
Result<std::unique_ptr<Reader>> MakeDecompressor(Reader& in, ExpansionLimits limits = {});

class Compressor : public Writer {
 public:
  virtual Status Finish() = 0;  // call once; nothing may be written afterwards
};

// gzip, zstd or none; kInvalid for others and for levels outside of gzip 0-9, zstd 1-22. Threads 0:
// one for each CPU.
//
// Default levels: gzip 6, zstd 3. gzip 1 to 6 are ISA-L's 1 to 3; 7 to 9 are zlib's own; 0 only
// stores. Measured on 1 GiB, half random, half C headers, 4 busy cores: gzip 6 1.4 s to 59.6 % in
// 33 MB of memory (gzip(1): -1 20 s to 60.5 %, -6 40 s to 58.2 %); zstd 3 1.9 s to 55.7 % in 32 MB.
Result<std::unique_ptr<Compressor>> MakeCompressor(Writer& out, Compression compression, std::optional<int> level = {},
                                                   size_t threads = 0);

}  // namespace varve::archive
