#include "base/percent.h"

#include "base/hex.h"

namespace varve {

namespace {

std::string Decode(std::string_view text, char plus) {
  std::string out, byte;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDecode(text.substr(i + 1, 2), &byte)) {
      out += byte;
      i += 2;
    } else {
      out += text[i] == '+' ? plus : text[i];
    }
  }
  return out;
}

}  // namespace

std::string PercentDecode(std::string_view text) { return Decode(text, '+'); }

std::string FormDecode(std::string_view text) { return Decode(text, ' '); }

}  // namespace varve
