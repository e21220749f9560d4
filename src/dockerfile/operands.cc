#include "dockerfile/operands.h"

#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "dockerfile/runes.h"

namespace varve::dockerfile {
namespace {

constexpr std::string_view kBlanks = "\t\v\f\r ";

bool IsBlank(char c) { return IsSpace(static_cast<unsigned char>(c) < 0x80 ? c : 'x'); }

// The flags in front of `text`, which is shortened by them. `--` ends them.
std::vector<std::string> TakeFlags(std::string_view& text, char escape) {
  std::vector<std::string> flags;
  size_t at = 0;
  while (true) {
    while (at < text.size() && IsBlank(text[at])) ++at;
    if (!text.substr(at).starts_with("--")) break;
    std::string flag;
    char quote = '\0';
    for (; at < text.size(); ++at) {
      char c = text[at];
      if (quote == '\0' && IsBlank(c)) break;
      if (quote == '\0' && (c == '\'' || c == '"')) {
        quote = c;
      } else if (quote != '\0' && c == quote) {
        quote = '\0';
      } else if (c == escape) {
        if (at + 1 < text.size()) flag += text[++at];
      } else {
        flag += c;
      }
    }
    if (flag == "--") break;
    flags.push_back(std::move(flag));
  }
  text.remove_prefix(at);
  return flags;
}

// Value of four hexadecimal digits, or nothing.
std::optional<int64_t> HexQuad(std::string_view text) {
  if (text.size() < 4) return std::nullopt;
  if (text.find_first_not_of("0123456789abcdefABCDEF") < 4) return std::nullopt;
  return ParseInt(text.substr(0, 4), 16);
}

// Bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD. Files in Latin-1 exist, and
// to call their exec forms malformed JSON would turn them into shell forms.
std::string RepairJson(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    Rune rune = DecodeRune(text, at);
    size_t size = rune.size;
    std::string_view copied = text.substr(at, size);
    if (rune.value == kBadByte && size == 1) {
      copied = "\uFFFD";
    } else if (rune.value == '\\') {
      size = 2;
      copied = text.substr(at, size);
      auto code = copied == "\\u" ? HexQuad(text.substr(at + 2)) : std::nullopt;
      if (code && *code >= 0xD800 && *code <= 0xDFFF) {
        size = 6;
        std::string_view next = text.substr(at + 6);
        auto low = next.starts_with("\\u") ? HexQuad(next.substr(2)) : std::nullopt;
        bool pair = *code < 0xDC00 && low && *low >= 0xDC00 && *low <= 0xDFFF;
        if (pair) size = 12;
        copied = pair ? text.substr(at, size) : "\uFFFD";
      }
    }
    out += copied;
    at += size;
  }
  return out;
}

}  // namespace

CommandParts SplitCommand(std::string_view line, char escape) {
  line = TrimUnicodeSpace(line);
  CommandParts parts;
  size_t end = line.find_first_of(kBlanks);
  parts.keyword = line.substr(0, end);
  if (end == std::string_view::npos) return parts;
  line.remove_prefix(line.find_first_not_of(kBlanks, end));
  parts.flags = TakeFlags(line, escape);
  parts.operands = TrimUnicodeSpace(line);
  return parts;
}

std::vector<std::string> SplitWords(std::string_view text, char escape) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  auto finish = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
    in_word = false;
  };
  for (size_t at = 0; at < text.size();) {
    Rune rune = DecodeRune(text, at);
    std::string_view bytes = text.substr(at, rune.size);
    at += rune.size;
    if (quote == '\0' && IsSpace(rune.value)) {
      if (in_word) finish();
      continue;
    }
    in_word = true;
    // Nothing can be escaped between single quotes.
    if (bytes[0] == escape && quote != '\'') {
      if (at == text.size()) {  // an escape at the end disappears
        quote = '\0';
        continue;
      }
      word += bytes;
      Rune escaped = DecodeRune(text, at);
      word += text.substr(at, escaped.size);
      at += escaped.size;
      continue;
    }
    if (quote == '\0' && (bytes == "'" || bytes == "\"")) quote = bytes[0];
    else if (quote != '\0' && bytes[0] == quote) quote = '\0';
    word += bytes;
  }
  finish();
  return words;
}

std::vector<std::string> SplitBlanks(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    size_t end = text.find_first_of(kBlanks);
    words.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    size_t next = text.find_first_not_of(kBlanks, end);
    text.remove_prefix(next == std::string_view::npos ? text.size() : next);
  }
  return words;
}

Result<std::optional<std::vector<std::string>>> ParseJsonForm(std::string_view text) {
  std::optional<std::vector<std::string>> words;
  text = TrimLeftSpace(text);
  if (!text.starts_with('[')) return words;
  auto json = Json::Parse(RepairJson(text));
  if (!json) return words;
  words.emplace();
  for (const Json& item : json->as_array()) {
    if (!item.is_string()) {
      Error error = Invalid("when using JSON array syntax, arrays must be comprised of strings only");
      error.hint = "put every element in double quotes";
      return error;
    }
    words->push_back(item.as_string());
  }
  return words;
}

Result<std::vector<std::string>> SplitKeyValues(std::string_view text, std::string_view keyword, char escape) {
  std::vector<std::string> words = SplitWords(text, escape);
  std::vector<std::string> out;
  if (words.empty()) return out;
  if (words[0].find('=') == std::string::npos) {
    size_t end = text.find_first_of(kBlanks);
    if (end == std::string_view::npos) {
      Error error = Invalid("{} must have two arguments", keyword);
      error.hint = fmt::format("write {} NAME=VALUE", keyword);
      return error;
    }
    size_t value = text.find_first_not_of(kBlanks, end);
    out.emplace_back(text.substr(0, end));
    out.emplace_back(value == std::string_view::npos ? std::string_view() : text.substr(value));
    out.emplace_back();
    return out;
  }
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    if (equals == std::string::npos) {
      return Invalid("Syntax error - can't find = in {}. Must be of the form: name=value", Quote(word));
    }
    out.push_back(word.substr(0, equals));
    out.push_back(word.substr(equals + 1));
    out.emplace_back("=");
  }
  return out;
}

}  // namespace varve::dockerfile
