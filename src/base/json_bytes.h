// The lone surrogate escapes by which Json writes bytes that are not UTF-8, when they are read back.
// nlohmann-json refuses them, so they pass through it as characters that the text has nowhere else.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace varve {

class JsonBytes {
 public:
  // Nothing when the text has no such escape: nearly always.
  static std::optional<JsonBytes> In(std::string_view text);

  const std::string& text() const { return text_; }  // with characters in place of the escapes
  void Restore(std::string& parsed) const;           // bytes in place of the characters

 private:
  std::string text_;
  std::string lead_;  // the first three of the four bytes of the lower 64 characters
};

}  // namespace varve
