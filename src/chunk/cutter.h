// Content-defined cutting: where a stream is cut depends on the bytes around the cut alone, so that
// an insertion moves the cuts behind it along, and what did not change is found again.
//
// FastCDC: W. Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data
// Deduplication", USENIX ATC 2016, with the normalisation of the journal version ("The Design of
// Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE TPDS 2020):
//  - a gear hash, hash = (hash << 1) + gear[byte], whose top bits depend on the last 64 bytes;
//  - no cut within the first `min` bytes, which are not even hashed;
//  - up to `normal` bytes a cut needs two zero bits more than log2(normal), after that two fewer
//    (normalised chunking, level 2): sizes gather around `normal`;
//  - a cut at `max` in any case.
// gear[i] is the first eight bytes, little endian, of SHA-256 of "varve gear " and the byte i.
//
// Besides, and not in the papers: where the caller knows that one object ends and another begins (a
// file in a layer), a cut is likelier the longer the chunk is: EndOfObject. A chunk then rarely
// holds the end of a large file and the beginning of the next, and tiny files share chunks. The rule
// is as content-defined as the other: it looks at the last 64 bytes and at the chunk's length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace varve::chunk {

// Powers of two, min < normal < max. Measured (bench/chunk_bench.cc) on 100 MB in 4,000 files of which
// 1 % changed, in thousandths of the bytes: contents in new chunks, and the list at 34 bytes a chunk.
//
//   normal   16K: 27.9 + 2.1    64K: 25.9 + 1.0    128K: 26.5 + 0.8     (object 16K)
//   object    4K: 23.3 + 1.2    16K: 25.9 + 1.0     64K: 35.6 + 0.7     (normal 64K)
//
// An `object` of 4K would win here, and lose on trees of tiny files, where the list is the larger part.
struct Sizes {
  size_t min = 16 << 10;
  size_t normal = 64 << 10;
  size_t max = 256 << 10;
  // From this length on a chunk ends at any end of an object.
  size_t object = 16 << 10;
};

// Not safe for use from several threads at once.
class Cutter {
 public:
  using Sink = std::function<Status(std::string_view chunk)>;

  Cutter(Sizes sizes, Sink sink);

  Status Write(std::string_view data);
  Status EndOfObject();
  Status Finish();  // gives out what is left, if anything

 private:
  size_t Scan(std::string_view data, bool* cut);
  Status Emit();

  const Sizes sizes_;
  const Sink sink_;
  const uint64_t before_, after_;  // masks up to the normal size, and beyond
  std::string chunk_;
  uint64_t hash_ = 0;
};

}  // namespace varve::chunk
