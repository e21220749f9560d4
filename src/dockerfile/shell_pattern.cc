#include "dockerfile/shell_pattern.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "dockerfile/runes.h"

namespace varve::dockerfile {
namespace {

constexpr uint64_t kMaxSteps = uint64_t{1} << 26;
constexpr size_t kMaxResult = size_t{64} << 20;

struct Token {
  enum Kind { kLiteral, kAny, kStar } kind = kLiteral;
  char32_t rune = 0;
};

struct Text {
  std::string_view bytes;
  std::vector<char32_t> runes;
  std::vector<size_t> offsets;  // of each rune, and the end

  explicit Text(std::string_view text) : bytes(text) {
    for (size_t at = 0; at < text.size();) {
      Rune rune = DecodeRune(text, at);
      // Different bad bytes are different runes; surrogates cannot occur otherwise.
      bool bad = rune.value == kBadByte && rune.size == 1;
      runes.push_back(bad ? 0xDC00 + static_cast<unsigned char>(text[at]) : rune.value);
      offsets.push_back(at);
      at += rune.size;
    }
    offsets.push_back(text.size());
  }
  size_t size() const { return runes.size(); }
  std::string_view Slice(size_t from, size_t to) const {
    return bytes.substr(offsets[from], offsets[to] - offsets[from]);
  }
};

Error BadPattern(std::string_view pattern, std::string_view reason) {
  return Invalid("invalid pattern ({}) in substitution: {}", pattern, reason);
}

// `shown` is the pattern as the message shows it.
Result<std::vector<Token>> Tokenize(std::string_view pattern, std::string_view shown) {
  Text text(pattern);
  std::vector<Token> tokens;
  for (size_t i = 0; i < text.size(); ++i) {
    char32_t rune = text.runes[i];
    if (rune == '*') {
      // A star after a star adds nothing, and would be a step of recursion below.
      if (tokens.empty() || tokens.back().kind != Token::kStar) tokens.push_back({Token::kStar});
    } else if (rune == '?') {
      tokens.push_back({Token::kAny});
    } else if (rune == '\\') {
      char32_t next = i + 1 < text.size() ? text.runes[i + 1] : kEnd;
      if (next == '}' || next == '/') continue;  // the escape was for ${}, not for the pattern
      if (next != '*' && next != '?' && next != '\\') {
        std::string_view letter = next == kEnd ? "\uFFFD" : text.Slice(i + 1, i + 2);
        return BadPattern(shown, fmt::format("invalid escape '\\{}'", letter));
      }
      tokens.push_back({Token::kLiteral, next});
      ++i;
    } else {
      tokens.push_back({Token::kLiteral, rune});
    }
  }
  return tokens;
}

// Finds matches as a backtracking matcher with prioritised choices would (leftmost; among those,
// greedy or lazy stars from left to right), in time pattern × text: all alternatives advance
// together in order of priority.
class Matcher {
 public:
  Matcher(const std::vector<Token>& tokens, bool greedy)
      : tokens_(tokens), greedy_(greedy), seen_(tokens.size() + 1, 0) {}

  struct Match {
    size_t start, end;
  };
  Result<std::optional<Match>> Find(const std::vector<char32_t>& text, size_t from, bool anchored) {
    std::optional<Match> found;
    std::vector<Thread> now, next;
    ++generation_;
    for (size_t at = from;; ++at) {
      if (!found && (!anchored || at == from)) Add(now, 0, at);
      if (now.empty()) break;
      next.clear();
      ++generation_;
      steps_ += now.size();
      if (steps_ > kMaxSteps) return Invalid("the value and the pattern are too long to match");
      for (const Thread& thread : now) {
        if (thread.token == tokens_.size()) {
          found = Match{thread.start, at};
          break;  // whatever is left has lower priority
        }
        if (at == text.size()) continue;
        const Token& token = tokens_[thread.token];
        bool star = token.kind == Token::kStar;
        bool fits = token.kind == Token::kLiteral ? text[at] == token.rune : text[at] != '\n';
        if (fits) Add(next, star ? thread.token : thread.token + 1, thread.start);
      }
      std::swap(now, next);
      if (at == text.size()) break;
    }
    return found;
  }

 private:
  struct Thread {
    size_t token, start;
  };
  void Add(std::vector<Thread>& list, size_t token, size_t start) {
    if (seen_[token] == generation_) return;
    seen_[token] = generation_;
    if (token < tokens_.size() && tokens_[token].kind == Token::kStar) {
      if (greedy_) list.push_back({token, start});
      Add(list, token + 1, start);
      if (!greedy_) list.push_back({token, start});
      return;
    }
    list.push_back({token, start});
  }

  const std::vector<Token>& tokens_;
  bool greedy_;
  std::vector<uint64_t> seen_;
  uint64_t generation_ = 0;
  uint64_t steps_ = 0;
};

// Escapes stay in front of what they escape: a\*c → c\*a.
std::string ReversePattern(std::string_view pattern) {
  Text text(pattern);
  std::vector<std::string_view> parts;
  for (size_t i = 0; i < text.size(); ++i) {
    size_t width = text.runes[i] == '\\' && i + 1 < text.size() ? 2 : 1;
    parts.push_back(text.Slice(i, i + width));
    i += width - 1;
  }
  std::string out;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) out += *part;
  return out;
}

// Go's regexp.Expand with no groups but the match itself.
std::string ExpandReplacement(std::string_view replacement, std::string_view match) {
  std::string out;
  while (!replacement.empty()) {
    size_t dollar = replacement.find('$');
    out += replacement.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    replacement.remove_prefix(dollar + 1);
    if (replacement.starts_with('$')) {
      out += '$';
      replacement.remove_prefix(1);
      continue;
    }
    size_t name = replacement.starts_with('{') ? 1 : 0;
    size_t end = name;
    for (Rune rune; (rune = DecodeRune(replacement, end)).size > 0; end += rune.size) {
      if (!IsLetter(rune.value) && !IsDigit(rune.value) && rune.value != '_') break;
    }
    bool closed = name == 0 || (end < replacement.size() && replacement[end] == '}');
    if (end == name || !closed) {
      out += '$';
      continue;
    }
    if (replacement.substr(name, end - name) == "0") out += match;
    replacement.remove_prefix(end + name);
  }
  return out;
}

}  // namespace

Result<std::string> TrimPatternPrefix(std::string_view pattern, std::string_view value, bool longest) {
  TRY_ASSIGN(std::vector<Token> tokens, Tokenize(pattern, pattern));
  Text text(value);
  TRY_ASSIGN(auto match, Matcher(tokens, longest).Find(text.runes, 0, true));
  return std::string(match ? text.Slice(match->end, text.size()) : value);
}

Result<std::string> TrimPatternSuffix(std::string_view pattern, std::string_view value, bool longest) {
  // The shortest suffix is the shortest prefix of everything reversed; a leftmost search cannot
  // find it directly.
  std::string reversed = ReversePattern(pattern);
  TRY_ASSIGN(std::vector<Token> tokens, Tokenize(reversed, reversed));
  Text text(value);
  std::vector<char32_t> runes(text.runes.rbegin(), text.runes.rend());
  TRY_ASSIGN(auto match, Matcher(tokens, longest).Find(runes, 0, true));
  return std::string(match ? text.Slice(0, text.size() - match->end) : value);
}

Result<std::string> ReplacePattern(std::string_view pattern, std::string_view value, std::string_view replacement,
                                   bool all) {
  TRY_ASSIGN(std::vector<Token> tokens, Tokenize(pattern, pattern));
  Text text(value);
  Matcher matcher(tokens, true);
  if (!all) {
    TRY_ASSIGN(auto match, matcher.Find(text.runes, 0, false));
    if (!match) return std::string(value);
    std::string out(text.Slice(0, match->start));
    out += replacement;
    return out += text.Slice(match->end, text.size());
  }
  std::string out;
  size_t copied = 0;
  for (size_t from = 0; from <= text.size();) {
    TRY_ASSIGN(auto match, matcher.Find(text.runes, from, false));
    if (!match) break;
    out += text.Slice(copied, match->start);
    // An empty match right behind the previous match does not count, as in Go's ReplaceAll.
    if (match->end > copied || match->start == 0) {
      out += ExpandReplacement(replacement, text.Slice(match->start, match->end));
    }
    if (out.size() > kMaxResult) return Invalid("the result has more than 64 MiB");
    copied = match->end;
    from = std::max(from + 1, match->end);
  }
  return out += text.Slice(copied, text.size());
}

}  // namespace varve::dockerfile
