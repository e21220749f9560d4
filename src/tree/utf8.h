// Code points of a path. Paths are bytes and need not be UTF-8: a byte that is not part of a valid
// sequence is its own character, above all code points, so that two different paths stay different.
#pragma once

#include <string>
#include <string_view>

namespace varve::tree {

inline constexpr char32_t kInvalidByte = 0x110000;  // + the byte

// Removes and returns the first character of `text`, which is not empty.
inline char32_t TakeChar(std::string_view& text) {
  auto first = static_cast<unsigned char>(text[0]);
  auto single = [&](char32_t c) {
    text.remove_prefix(1);
    return c;
  };
  if (first < 0x80) return single(first);
  size_t size = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (first >= 0xf5 || size == 0 || text.size() < size) return single(kInvalidByte + first);
  char32_t c = first & (0x7f >> size);
  for (size_t i = 1; i < size; ++i) {
    auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return single(kInvalidByte + first);
    c = c << 6 | (next & 0x3f);
  }
  bool overlong = (size == 3 && c < 0x800) || (size == 4 && c < 0x10000);
  if (overlong || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return single(kInvalidByte + first);
  text.remove_prefix(size);
  return c;
}

inline void AppendChar(std::string& out, char32_t c) {
  if (c >= kInvalidByte) {
    out.push_back(static_cast<char>(c - kInvalidByte));
  } else if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xc0 | c >> 6));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | c >> 12));
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | c >> 18));
    out.push_back(static_cast<char>(0x80 | (c >> 12 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  }
}

}  // namespace varve::tree
