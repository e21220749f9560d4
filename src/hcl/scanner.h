// Characters of HCL with their places: what both parsers read from. Internal to the module.
#pragma once

#include <memory>
#include <string_view>

#include "hcl/source.h"

namespace varve::hcl {

class Scanner {
 public:
  // With `fixed`, every place is that one: the text is not a piece of the file as it stands there.
  Scanner(std::shared_ptr<const Source> source, const Range& fixed)
      : source_(std::move(source)), fixed_(fixed), text_(source_->text) {}

  bool AtEnd() const { return at_.byte >= text_.size(); }
  char Peek(size_t ahead = 0) const { return at_.byte + ahead < text_.size() ? text_[at_.byte + ahead] : '\0'; }
  bool Looking(std::string_view at) const { return text_.substr(at_.byte).starts_with(at); }
  char Next() {
    char c = text_[at_.byte++];
    if (c == '\n') {
      ++at_.line;
      at_.column = 1;
    } else if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) {
      ++at_.column;
    }
    return c;
  }
  void Skip(size_t bytes) {
    for (; bytes > 0 && !AtEnd(); --bytes) Next();
  }
  bool Take(std::string_view token) {
    if (!Looking(token)) return false;
    Skip(token.size());
    return true;
  }
  const Position& position() const { return at_; }
  std::string_view text() const { return text_; }
  const Source& source() const { return *source_; }
  const Range& fixed() const { return fixed_; }
  void Return(const Position& to) { at_ = to; }

  Range From(const Position& start) const { return fixed_.source ? fixed_ : Range{source_, start, at_}; }
  // The next character.
  Range Here() const {
    if (fixed_.source) return fixed_;
    Position end = at_;
    if (!AtEnd() && Peek() != '\n') {
      ++end.byte;
      ++end.column;
    }
    return {source_, at_, end};
  }

  static bool IsNameStart(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<signed char>(c) < 0;
  }
  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }
  static bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c) || c == '-'; }
  std::string Name() {
    std::string name;
    while (!AtEnd() && IsNamePart(Peek())) name += Next();
    return name;
  }

 private:
  std::shared_ptr<const Source> source_;
  Range fixed_;
  std::string_view text_;
  Position at_;
};

// Appends a code point in UTF-8.
void AppendUtf8(uint32_t code, std::string& out);

}  // namespace varve::hcl
