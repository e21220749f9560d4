// Where in a tar file contents begin and end, found while the stream goes by.
//
// A layer that is made again has new times in all its headers and mostly old contents. Chunked as it
// lies there, with a header each few kilobytes, all of it would be new: so headers and contents are
// chunked apart. To put them together again nothing but the headers is needed, since they say how
// much content follows; whoever joins runs the same seam as whoever split.
//
// Whatever the stream is, splitting and joining are inverse: what is no tar, or a kind of tar that is
// not understood (old GNU sparse files), counts as headers to its end, and is merely found again less
// often. Type flags: 0, NUL and 7 have contents; x and g, L and K have payloads that belong to the
// headers, and "size" of an x counts for the next entry (POSIX pax, "ustar Interchange Format").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace varve::chunk {

class TarSeam {
 public:
  // Takes header bytes and returns how many there were: fewer than data.size() when contents follow.
  size_t TakeHeaders(std::string_view data);
  // Bytes of contents that come next; 0: headers.
  uint64_t contents() const { return contents_; }
  void TakeContents(uint64_t size) { contents_ -= size; }

 private:
  void EndOfHeader();

  std::string block_;      // of a header, as far as it is there
  uint64_t payload_ = 0;   // bytes of payload and padding that still belong to the headers
  std::string pax_;        // of an x, while it is collected
  uint64_t pax_size_ = 0;  // without its padding
  bool in_pax_ = false;
  std::optional<uint64_t> next_size_;  // as the last x said
  uint64_t contents_ = 0;
  bool lost_ = false;  // no tar, or one that is not understood
};

}  // namespace varve::chunk
