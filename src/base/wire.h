// The primitives of binary formats: LEB128 varints and counted bytes.
//
// Reading is strict: a varint that is not the shortest form of its value is refused, so that every
// value has exactly one encoding. Digests name encoded objects; two spellings of one directory
// would be two names for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace varve {

inline void PutVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

inline void PutBytes(std::string& out, std::string_view bytes) {
  PutVarint(out, bytes.size());
  out.append(bytes);
}

// Reads from the front of a buffer that it does not own. Each call returns false, and leaves the
// output unspecified, when the buffer does not hold what was asked for.
class Cursor {
 public:
  explicit Cursor(std::string_view data) : rest_(data) {}

  bool AtEnd() const { return rest_.empty(); }
  size_t remaining() const { return rest_.size(); }

  bool Varint(uint64_t* value) {
    uint64_t result = 0;
    for (unsigned i = 0; i < 10 && i < rest_.size(); ++i) {
      auto byte = static_cast<uint8_t>(rest_[i]);
      if (i == 9 && byte > 1) return false;  // more than 64 bits
      result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
      if (byte & 0x80) continue;
      if (byte == 0 && i > 0) return false;  // not the shortest form
      rest_.remove_prefix(i + 1);
      *value = result;
      return true;
    }
    return false;
  }

  bool Varint32(uint32_t* value) {
    uint64_t wide;
    if (!Varint(&wide) || wide > UINT32_MAX) return false;
    *value = static_cast<uint32_t>(wide);
    return true;
  }

  bool Raw(size_t size, std::string_view* bytes) {
    if (rest_.size() < size) return false;
    *bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  bool Byte(uint8_t* value) {
    if (rest_.empty()) return false;
    *value = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return true;
  }

  bool Bytes(std::string_view* bytes) {
    uint64_t size;
    return Varint(&size) && size <= rest_.size() && Raw(size, bytes);
  }

 private:
  std::string_view rest_;
};

}  // namespace varve
