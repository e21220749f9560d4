// The fields of tar headers, for tar_reader.cc and tar_writer.cc.
//
//   offset  length  field                     offset  length  field
//        0     100  name                         156       1  type
//      100       8  mode                         157     100  link name
//      108       8  uid                          257       8  magic and version
//      116       8  gid                          265      64  user and group names
//      124      12  size                         329      16  device numbers
//      136      12  mtime                        345     155  ustar: prefix; GNU: see below
//      148       8  checksum
//
// GNU (magic "ustar  \0"): 345 atime, 357 ctime, 386 four sparse segments of 24 bytes, 482 "more
// follow", 483 real size. A further sparse block has 21 segments and "more follow" at 504.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace varve::archive {

constexpr size_t kTarBlock = 512;
using TarBlock = std::array<char, kTarBlock>;

enum class TarFormat { kV7, kUstar, kStar, kGnu };

inline std::string_view Field(const TarBlock& block, size_t offset, size_t length) {
  return {block.data() + offset, length};
}

// Up to the first NUL.
std::string_view CString(std::string_view field);
bool IsPlainAscii(std::string_view text);  // neither NUL nor above 127

// Octal with spaces and NULs around it, or base-256 (first bit set), also negative. kCorrupt.
Result<int64_t> ParseTarNumber(std::string_view field);

// kCorrupt unless the checksum is right, counted with unsigned or (old SunOS) signed bytes.
Result<TarFormat> CheckHeader(const TarBlock& block);
bool IsZero(const TarBlock& block);

// "LENGTH KEY=VALUE\n" where LENGTH counts itself.
std::string PaxRecord(const std::string& key, const std::string& value);
using PaxRecords = std::map<std::string, std::string>;
// Adds the records to `into`; a later one wins. The segments of sparse format 0.0, which come as
// repeated keys, are gathered in the form of 0.1 under "GNU.sparse.map". kCorrupt.
Status ParsePaxRecords(std::string_view data, PaxRecords& into);
// "-12.5"; clamped to what a Timestamp can hold. kCorrupt.
Result<Timestamp> ParsePaxTime(std::string_view text);
Timestamp ClampSeconds(int64_t seconds, int64_t nanos);
Result<uint64_t> ParseDecimal(std::string_view text);  // kCorrupt

// What of a sparse file is stored; everything between is zero.
struct SparseSegment {
  uint64_t offset = 0;
  uint64_t length = 0;
};
// Sorted, disjoint, within `size`, and together `stored` bytes; else kCorrupt.
Status CheckSparseMap(const std::vector<SparseSegment>& map, uint64_t size, uint64_t stored);
// "offset,length,offset,length…"
Result<std::vector<SparseSegment>> ParseSparseMap01(const PaxRecords& records);

inline constexpr size_t kMaxSparseSegments = 1 << 20;

}  // namespace varve::archive
