#include "dockerfile/runes.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

#include "dockerfile/rune_tables.h"

namespace varve::dockerfile {
namespace {

template <size_t N>
bool Contains(const Range (&ranges)[N], char32_t rune) {
  const Range* after = std::upper_bound(std::begin(ranges), std::end(ranges), rune,
                                        [](char32_t r, const Range& range) { return r < range.first; });
  return after != std::begin(ranges) && rune <= std::prev(after)->last;
}

bool IsPrintable(char32_t rune) {
  if (rune < 0x20 || rune == 0x7F) return false;
  if (rune < 0x7F) return true;
  if (rune < 0xA1 || rune == 0xAD || IsSpace(rune)) return false;
  // Format characters, private use, non-characters and the unassigned planes.
  if ((rune >= 0x200B && rune <= 0x200F) || (rune >= 0x202A && rune <= 0x202E)) return false;
  if ((rune >= 0x2060 && rune <= 0x206F) || (rune >= 0xE000 && rune <= 0xF8FF)) return false;
  return rune != 0xFEFF && rune < 0xE0000 && (rune & 0xFFFE) != 0xFFFE;
}

}  // namespace

Rune DecodeRune(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  auto byte = [&](size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return {kBadByte, 1};
  char32_t value = lead & (0xFFu >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {kBadByte, 1};
    value = (value << 6) | (byte(i) & 0x3F);
  }
  bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
  bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) return {kBadByte, 1};
  return {value, size};
}

bool IsSpace(char32_t rune) {
  if (rune < 0x80) return rune == ' ' || (rune >= '\t' && rune <= '\r');
  return rune == 0x85 || rune == 0xA0 || rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200A) || rune == 0x2028 ||
         rune == 0x2029 || rune == 0x202F || rune == 0x205F || rune == 0x3000;
}

bool IsLetter(char32_t rune) {
  if (rune < 0x80) return (rune | 0x20) >= 'a' && (rune | 0x20) <= 'z';
  return Contains(kLetters, rune);
}

bool IsDigit(char32_t rune) {
  if (rune < 0x80) return rune >= '0' && rune <= '9';
  return Contains(kDigits, rune);
}

std::string_view TrimLeftSpace(std::string_view text) {
  while (!text.empty()) {
    Rune rune = DecodeRune(text, 0);
    if (!IsSpace(rune.value)) break;
    text.remove_prefix(rune.size);
  }
  return text;
}

std::string_view TrimUnicodeSpace(std::string_view text) {
  text = TrimLeftSpace(text);
  while (!text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && text.size() - start < 4 && (text[start] & 0xC0) == 0x80) --start;
    Rune rune = DecodeRune(text, start);
    if (start + rune.size != text.size() || !IsSpace(rune.value)) break;
    text.remove_suffix(rune.size);
  }
  return text;
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (size_t at = 0; at < text.size();) {
    Rune rune = DecodeRune(text, at);
    std::string_view bytes = text.substr(at, rune.size);
    at += rune.size;
    switch (rune.value) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\a':
        out += "\\a";
        continue;
      case '\b':
        out += "\\b";
        continue;
      case '\f':
        out += "\\f";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\v':
        out += "\\v";
        continue;
      default:
        break;
    }
    if (rune.value == kBadByte && rune.size == 1) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[0]));
    } else if (IsPrintable(rune.value)) {
      out += bytes;
    } else if (rune.value < 0x80) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(rune.value));
    } else if (rune.value < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(rune.value));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<unsigned>(rune.value));
    }
  }
  return out + "\"";
}

}  // namespace varve::dockerfile
