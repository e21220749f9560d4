#include "base/go_quote.h"

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <utility>

namespace varve {

namespace {

// The code point at text[i], and its length; length 0 for a byte that is no valid UTF-8.
std::pair<char32_t, size_t> DecodeAt(std::string_view text, size_t i) {
  auto byte = [&](size_t k) { return static_cast<uint8_t>(text[i + k]); };
  uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (length == 0 || lead > 0xf4 || i + length > text.size()) return {0, 0};
  char32_t code = lead & (0x7fu >> length);
  for (size_t k = 1; k < length; ++k) {
    if ((byte(k) & 0xc0) != 0x80) return {0, 0};
    code = code << 6 | (byte(k) & 0x3fu);
  }
  constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kSmallest[length] || code > 0x10ffff || surrogate) return {0, 0};
  return {code, length};
}

// Go's strconv.IsPrint leaves out all blanks but U+0020, controls, format characters, private use
// and noncharacters. Code points that Unicode has not assigned are taken for printable here.
bool IsPrintable(char32_t c) {
  constexpr std::pair<char32_t, char32_t> kHidden[] = {
      {0x00, 0x1f},     {0x7f, 0xa0},     {0xad, 0xad},     {0x600, 0x605},     {0x61c, 0x61c},
      {0x6dd, 0x6dd},   {0x70f, 0x70f},   {0x8e2, 0x8e2},   {0x1680, 0x1680},   {0x180e, 0x180e},
      {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000},   {0xe000, 0xf8ff},
      {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0x10ffff}};
  for (auto [first, last] : kHidden) {
    if (c >= first && c <= last) return false;
  }
  return true;
}

}  // namespace

std::string GoQuote(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    auto [code, length] = DecodeAt(text, i);
    if (length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[i]));
      ++i;
      continue;
    }
    constexpr std::string_view kNamed = "\a\b\f\n\r\t\v";
    constexpr std::string_view kLetters = "abfnrtv";
    size_t named = code < 0x80 ? kNamed.find(static_cast<char>(code)) : kNamed.npos;
    if (code == '"' || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (named != kNamed.npos) {
      out += '\\';
      out += kLetters[named];
    } else if (IsPrintable(code)) {
      out += text.substr(i, length);
    } else if (code < ' ' || code == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(code));
    } else if (code < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(code));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(code));
    }
    i += length;
  }
  return out + "\"";
}

}  // namespace varve
