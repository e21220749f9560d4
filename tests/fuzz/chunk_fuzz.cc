// Chunk lists of foreign places: any bytes give an error or a list, and a list that was read is written
// as the same bytes. And any stream is joined again from its parts.
//
// The first byte chooses; the rest is the input.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "chunk/chunk_list.h"
#include "chunk/tar_seam.h"

namespace chunk = varve::chunk;

namespace {

void FuzzList(std::string_view text) {
  auto list = chunk::DecodePlain(text);
  if (!list) return;
  CHECK(chunk::EncodePlain(*list) == text);
}

void FuzzSeam(std::string_view stream) {
  std::string headers, contents;
  chunk::TarSeam split;
  for (std::string_view rest = stream; !rest.empty();) {
    size_t n;
    if (split.contents() > 0) {
      n = std::min<uint64_t>(split.contents(), rest.size());
      contents += rest.substr(0, n);
      split.TakeContents(n);
    } else {
      n = split.TakeHeaders(rest);
      headers += rest.substr(0, n);
    }
    rest.remove_prefix(n);
  }
  std::string joined;
  chunk::TarSeam join;
  std::string_view h = headers, c = contents;
  while (!h.empty() || !c.empty()) {
    if (join.contents() > 0) {
      size_t n = std::min<uint64_t>(join.contents(), c.size());
      if (n == 0) break;
      joined += c.substr(0, n);
      c.remove_prefix(n);
      join.TakeContents(n);
    } else {
      // Pieces of other sizes than those of the split.
      size_t n = join.TakeHeaders(h.substr(0, 700));
      if (n == 0) break;
      joined += h.substr(0, n);
      h.remove_prefix(n);
    }
  }
  CHECK(joined == stream);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'l') FuzzList(input);
  else FuzzSeam(input);
  return 0;
}
