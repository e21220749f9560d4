// Compression of layers: gzip (ISA-L, on all cores) and zstd.
//
// The compressed bytes depend on the level and the library's version only, not on the number of
// threads or the sizes of the writes. Decompressors verify the stream's own checksums; a truncated
// stream is kCorrupt.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "base/io.h"
#include "base/result.h"

namespace varve::archive {

enum class Compression { kNone, kGzip, kZstd };

std::string_view CompressionName(Compression compression);
// By the first bytes (at least 4).
Compression Detect(std::string_view head);

// The uncompressed stream; the compression is recognised by content.
Result<std::unique_ptr<Reader>> MakeDecompressor(Reader& in);

class Compressor : public Writer {
 public:
  virtual Status Finish() = 0;  // call once; nothing may be written afterwards
};

// Level: gzip 0-9 (default 2 of ISA-L's scale, near gzip -1 at fifteen times its speed), zstd 0-22
// (default 3).
std::unique_ptr<Compressor> MakeCompressor(Writer& out, Compression compression,
                                           std::optional<int> level = {}, size_t threads = 0);

}  // namespace varve::archive
