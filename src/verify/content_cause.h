// Why two runs of one step wrote different bytes into a file, as far as the bytes tell.
//
// Most steps that are not reproducible put one of four things into a file: the time, a path of the
// build's own, a random name, or a list in the order in which a directory or a hash table gave it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace varve::verify {

enum class Cause {
  kTime,        // a date, a clock time, seconds since 1970 in decimal or in a binary field
  kPath,        // a path, such as one of a temporary directory
  kIdentifier,  // a random or hashed name: UUID, hexadecimal or base64 of some length
  kOrder,       // the same lines in another order
  kLength,      // one is the beginning of the other
  kOther,
};

std::string_view CauseName(Cause cause);  // "time", "path", "identifier", "order", "length", "other"

struct ContentCause {
  Cause cause = Cause::kOther;
  uint64_t offset = 0;  // of the first byte that differs
  std::string first;    // what stands there, in one line of printable text, at most 60 columns
  std::string second;
};

// `offset` is where the two begin in their files: large files are given as windows around the first
// difference. They must differ. Order is only seen in texts that are given whole.
ContentCause ExplainContent(std::string_view first, std::string_view second, uint64_t offset = 0);

}  // namespace varve::verify
