#include "base/json_bytes.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace varve {

namespace {

// The \uXXXX escape that `text` begins with, or nothing.
std::optional<uint32_t> EscapeAt(std::string_view text) {
  uint32_t code = 0;
  if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return std::nullopt;
  auto end = std::from_chars(text.data() + 2, text.data() + 6, code, 16).ptr;
  if (end != text.data() + 6) return std::nullopt;
  return code;
}

// Of 128 characters in a row in the private planes that do not occur in `text`.
std::optional<std::string> UnusedLead(std::string_view text) {
  // F3 B0..BF 80..BE is plane 15; each lead and its successor stand for 64 characters.
  for (int second = 0xb0; second <= 0xbf; ++second) {
    for (int third = 0x80; third <= 0xbe; third += 2) {
      std::string lead = {'\xf3', static_cast<char>(second), static_cast<char>(third)};
      std::string next = {'\xf3', static_cast<char>(second), static_cast<char>(third + 1)};
      if (text.find(lead) == text.npos && text.find(next) == text.npos) return lead;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<JsonBytes> JsonBytes::In(std::string_view text) {
  if (text.find("\\udc") == text.npos) return std::nullopt;
  auto lead = UnusedLead(text);
  // Private characters that are written as escapes could be any of ours. We never write them so.
  if (!lead || text.find("\\udb") != text.npos) return std::nullopt;
  JsonBytes out;
  out.lead_ = *lead;
  bool found = false;
  while (!text.empty()) {
    size_t taken = 1;
    auto code = EscapeAt(text);
    if (code && *code >= 0xd800 && *code < 0xdc00) {
      taken = EscapeAt(text.substr(6)) ? 12 : 6;  // the first of a pair
    } else if (code && *code >= 0xdc80 && *code <= 0xdcff) {
      uint32_t index = *code - 0xdc80;
      out.text_ += {(*lead)[0], (*lead)[1], static_cast<char>((*lead)[2] + (index >> 6)),
                    static_cast<char>(0x80 | (index & 0x3f))};
      text.remove_prefix(6);
      found = true;
      continue;
    } else if (text[0] == '\\' && text.size() > 1) {
      taken = 2;
    }
    out.text_.append(text.substr(0, taken));
    text.remove_prefix(std::min(taken, text.size()));
  }
  if (!found) return std::nullopt;
  return out;
}

void JsonBytes::Restore(std::string& parsed) const {
  for (int half : {0, 1}) {
    std::string lead = lead_;
    lead[2] = static_cast<char>(lead[2] + half);
    for (size_t at = 0; (at = parsed.find(lead, at)) != parsed.npos && at + 3 < parsed.size(); ++at) {
      int index = half << 6 | (static_cast<uint8_t>(parsed[at + 3]) & 0x3f);
      parsed.replace(at, 4, 1, static_cast<char>(0x80 + index));
    }
  }
}

}  // namespace varve
