// UTF-8 text as code points, the way the language looks at it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace varve::dockerfile {

inline constexpr char32_t kEnd = 0xFFFFFFFF;  // past the end
inline constexpr char32_t kBadByte = 0xFFFD;  // a byte that is not part of valid UTF-8

struct Rune {
  char32_t value = kEnd;
  size_t size = 0;  // bytes; 1 for a bad byte, 0 at the end
};

// Bad bytes are one rune each; callers copy bytes, so they pass through unchanged.
Rune DecodeRune(std::string_view text, size_t at);

bool IsSpace(char32_t rune);  // White_Space, as Go's unicode.IsSpace
bool IsLetter(char32_t rune);
bool IsDigit(char32_t rune);

std::string_view TrimLeftSpace(std::string_view text);
std::string_view TrimUnicodeSpace(std::string_view text);

// The text as Go's %q writes it, which is how the language's messages quote what they are about.
std::string Quote(std::string_view text);

}  // namespace varve::dockerfile
