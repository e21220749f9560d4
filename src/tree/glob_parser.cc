#include "tree/glob_parser.h"

#include <optional>

#include "tree/utf8.h"

namespace varve::tree {

namespace {

using Token = Glob::Token;

bool IsAlnum(char32_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool Eat(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

void AddClass(Glob::Program& program, Glob::Class c) {
  program.tokens.push_back({Token::kClass, false, static_cast<char32_t>(program.classes.size())});
  program.classes.push_back(std::move(c));
}

// One end of a range in a filepath.Match class. The class must go on after it.
std::optional<char32_t> TakeRangeEnd(std::string_view& text) {
  if (text.empty() || text[0] == '-' || text[0] == ']') return std::nullopt;
  if (Eat(text, "\\") && text.empty()) return std::nullopt;
  char32_t c = TakeChar(text);
  if (c >= kInvalidByte || text.empty()) return std::nullopt;
  return c;
}

std::optional<Glob::Class> TakeFileMatchClass(std::string_view& text) {
  Glob::Class out;
  out.negated = Eat(text, "^");
  while (out.ranges.empty() || !Eat(text, "]")) {
    auto low = TakeRangeEnd(text);
    if (!low) return std::nullopt;
    auto high = low;
    if (Eat(text, "-")) high = TakeRangeEnd(text);
    if (!high) return std::nullopt;
    out.ranges.emplace_back(*low, *high);
  }
  return out;
}

// \d \s \w and their complements, Go's regexp/syntax "Perl character classes".
std::optional<Glob::Class> PerlClass(char32_t letter) {
  Glob::Class out;
  switch (letter | 0x20) {
    case 'd':
      out.ranges = {{'0', '9'}};
      break;
    case 's':
      out.ranges = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
      break;
    case 'w':
      out.ranges = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
      break;
    default:
      return std::nullopt;
  }
  out.negated = (letter & 0x20) == 0;
  return out;
}

void AddRanges(const Glob::Class& from, Glob::Class* to) {
  if (!from.negated) {
    to->ranges.insert(to->ranges.end(), from.ranges.begin(), from.ranges.end());
    return;
  }
  char32_t next = 0;
  for (auto [low, high] : from.ranges) {  // PerlClass gives them sorted
    if (next < low) to->ranges.emplace_back(next, low - 1);
    next = high + 1;
  }
  to->ranges.emplace_back(next, kInvalidByte + 0xff);
}

// A number of `low`…`high` digits in `base`.
std::optional<char32_t> TakeNumber(std::string_view& text, uint32_t base, size_t low, size_t high) {
  char32_t value = 0;
  size_t digits = 0;
  while (digits < high && !text.empty()) {
    char32_t c = static_cast<unsigned char>(text[0]);
    char32_t digit = c >= '0' && c <= '9' ? c - '0' : IsAlnum(c) ? (c | 0x20) - 'a' + 10 : 99;
    if (digit >= base) break;
    value = value * base + digit;
    text.remove_prefix(1);
    ++digits;
  }
  if (digits < low || value > 0x10ffff) return std::nullopt;
  return value;
}

// The character that an escape stands for (Go's regexp/syntax, "Escape sequences"). \Q and \p have
// no use in a file pattern and are syntax errors here, as unknown letters are there.
std::optional<char32_t> TakeEscaped(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  char32_t c = TakeChar(text);
  if (c < 0x80 && !IsAlnum(c)) return c;
  switch (c) {
    case 'a':
      return '\a';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case 'x': {
      if (!Eat(text, "{")) return TakeNumber(text, 16, 2, 2);
      auto value = TakeNumber(text, 16, 1, 6);
      if (!Eat(text, "}")) return std::nullopt;
      return value;
    }
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
      if (text.empty() || text[0] < '0' || text[0] > '7') return std::nullopt;  // a back reference
      [[fallthrough]];
    case '0': {
      char32_t value = c - '0';
      for (int i = 0; i < 2 && !text.empty() && text[0] >= '0' && text[0] <= '7'; ++i) {
        value = value * 8 + static_cast<char32_t>(text[0] - '0');
        text.remove_prefix(1);
      }
      return value;
    }
    default:
      return std::nullopt;
  }
}

// \A, \z, \b and \B: conditions, outside of classes only.
std::optional<Token> TakeCondition(std::string_view& text) {
  if (Eat(text, "A")) return Token{Token::kStart};
  if (Eat(text, "z")) return Token{Token::kEnd};
  if (Eat(text, "b")) return Token{Token::kBoundary};
  if (Eat(text, "B")) return Token{Token::kBoundary, false, 1};
  return std::nullopt;
}

std::optional<char32_t> TakeRegexClassChar(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  if (Eat(text, "\\")) return TakeEscaped(text);
  return TakeChar(text);
}

// A class in RE2 syntax: "]" and "-" are literal as the first character.
std::optional<Glob::Class> TakeRegexClass(std::string_view& text) {
  Glob::Class out;
  out.negated = Eat(text, "^");
  for (bool first = true; first || !Eat(text, "]"); first = false) {
    if (text.starts_with("[:") && text.find(":]", 2) != text.npos) return std::nullopt;
    if (text.size() >= 2 && text[0] == '\\') {
      if (auto perl = PerlClass(static_cast<unsigned char>(text[1]))) {
        text.remove_prefix(2);
        AddRanges(*perl, &out);
        continue;
      }
    }
    auto low = TakeRegexClassChar(text);
    if (!low) return std::nullopt;
    auto high = low;
    if (text.size() >= 2 && text[0] == '-' && text[1] != ']') {
      text.remove_prefix(1);
      high = TakeRegexClassChar(text);
      if (!high || *high < *low) return std::nullopt;
    }
    out.ranges.emplace_back(*low, *high);
  }
  return out;
}

}  // namespace

Error PatternSyntaxError(std::string_view pattern) {
  Error error = Invalid("syntax error in pattern \"{}\"", pattern);
  error.hint = "a \\ takes the next character literally, as in \\[ for a bracket";
  return error;
}

Result<Glob::Program> ParseFileMatch(std::string_view pattern) {
  Glob::Program out;
  std::string_view text = pattern;
  while (!text.empty()) {
    if (Eat(text, "*")) {
      bool doubled = !out.tokens.empty() && out.tokens.back().star;
      if (!doubled) out.tokens.push_back({Token::kNotSlash, true});
    } else if (Eat(text, "?")) {
      out.tokens.push_back({Token::kNotSlash});
    } else if (Eat(text, "[")) {
      auto parsed = TakeFileMatchClass(text);
      if (!parsed) return PatternSyntaxError(pattern);
      AddClass(out, std::move(*parsed));
    } else {
      if (Eat(text, "\\") && text.empty()) return PatternSyntaxError(pattern);
      out.tokens.push_back({Token::kLiteral, false, TakeChar(text)});
    }
  }
  return out;
}

Result<Glob::Program> ParseGeneratedRegex(std::string_view regex, std::string_view pattern) {
  Glob::Program out;
  std::string_view text = regex;
  while (!text.empty()) {
    if (Eat(text, "(.*/)?")) {
      out.tokens.push_back({Token::kGlobStar});
      out.tokens.push_back({Token::kInside});
    } else if (Eat(text, ".*")) {
      out.tokens.push_back({Token::kRest});
    } else if (Eat(text, "^")) {
      out.tokens.push_back({Token::kStart});
    } else if (Eat(text, "[^/]")) {
      out.tokens.push_back({Token::kNotSlash, Eat(text, "*")});
    } else if (Eat(text, "[")) {
      auto parsed = TakeRegexClass(text);
      if (!parsed) return PatternSyntaxError(pattern);
      AddClass(out, std::move(*parsed));
      out.tokens.back().star = Eat(text, "*");
    } else if (Eat(text, "\\")) {
      auto perl = text.empty() ? std::nullopt : PerlClass(static_cast<unsigned char>(text[0]));
      if (perl) {
        text.remove_prefix(1);
        AddClass(out, std::move(*perl));
        continue;
      }
      if (auto condition = TakeCondition(text)) {
        out.tokens.push_back(*condition);
        continue;
      }
      auto escaped = TakeEscaped(text);
      if (!escaped) return PatternSyntaxError(pattern);
      out.tokens.push_back({Token::kLiteral, false, *escaped});
    } else {
      out.tokens.push_back({Token::kLiteral, false, TakeChar(text)});
    }
  }
  return out;
}

}  // namespace varve::tree
