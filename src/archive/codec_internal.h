// The codecs' own constructors; users go through archive/codec.h.
#pragma once

#include <memory>

#include "archive/codec.h"

namespace varve::archive {

std::unique_ptr<Compressor> MakeGzipWriter(Writer& out, int level, size_t threads);
std::unique_ptr<Reader> MakeGzipReader(Reader& in);
std::unique_ptr<Compressor> MakeZstdWriter(Writer& out, int level, size_t threads);
std::unique_ptr<Reader> MakeZstdReader(Reader& in);
std::unique_ptr<Reader> MakeBzip2Reader(Reader& in);
std::unique_ptr<Reader> MakeXzReader(Reader& in);

}  // namespace varve::archive
