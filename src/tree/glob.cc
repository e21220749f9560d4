#include "tree/glob.h"

#include <algorithm>
#include <bit>

#include "tree/glob_parser.h"
#include "tree/utf8.h"

namespace varve::tree {

namespace {

constexpr size_t kMaxTokens = 4096;  // PATH_MAX: a longer pattern matches no path

// Punctuation of regular expressions that file patterns take literally.
bool IsRegexPunctuation(char c) { return std::string_view(".+()|{}$").find(c) != std::string_view::npos; }

constexpr char32_t kNone = 0xffffffff;  // no character: before the first, after the last

bool IsWord(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// "directory/" against the start of a pattern: can either be continued to the other?
bool SameStart(std::string_view directory, std::string_view start) {
  size_t shared = std::min(directory.size(), start.size());
  if (directory.substr(0, shared) != start.substr(0, shared)) return false;
  return start.size() <= directory.size() || directory.empty() || start[directory.size()] == '/';
}

}  // namespace

bool Glob::Class::Contains(char32_t c) const {
  bool inside = std::any_of(ranges.begin(), ranges.end(),
                            [c](const auto& range) { return range.first <= c && c <= range.second; });
  return inside != negated;
}

// A set of tokens that may come next; the one after the last means "matched".
class Glob::States {
 public:
  explicit States(size_t tokens) : words_(tokens / 64 + 1) { Clear(); }
  void Clear() { std::fill_n(bits_, words_, 0); }
  void Add(size_t i) { bits_[i / 64] |= uint64_t{1} << (i % 64); }
  bool Has(size_t i) const { return bits_[i / 64] >> (i % 64) & 1; }
  template <class F>
  void ForEach(F&& f) const {
    for (size_t w = 0; w < words_; ++w) {
      for (uint64_t word = bits_[w]; word != 0; word &= word - 1) {
        f(w * 64 + static_cast<size_t>(std::countr_zero(word)));
      }
    }
  }

 private:
  size_t words_;
  uint64_t bits_[kMaxTokens / 64 + 1];
};

// Adds a token and those that may come next without a character being read.
void Glob::Enter(States& states, size_t token, bool at_start) const {
  while (!states.Has(token)) {
    if (token == program_.tokens.size()) {
      states.Add(token);
      return;
    }
    const Token& t = program_.tokens[token];
    if (t.kind == Token::kStart) {
      if (!at_start) return;
      ++token;
      continue;
    }
    states.Add(token);
    if (t.kind == Token::kGlobStar) {
      states.Add(token + 1);
      token += 2;
    } else if (t.kind == Token::kRest || t.star) {
      ++token;
    } else {
      return;
    }
  }
}

bool Glob::Step(const States& from, char32_t c, States& to) const {
  bool alive = false;
  from.ForEach([&](size_t i) {
    if (i == program_.tokens.size()) return;
    const Token& t = program_.tokens[i];
    bool reads = false;
    switch (t.kind) {
      case Token::kLiteral:
        reads = t.c == c;
        break;
      case Token::kNotSlash:
        reads = c != '/';
        break;
      case Token::kClass:
        reads = program_.classes[t.c].Contains(c);
        break;
      case Token::kInside:
      case Token::kRest:
        reads = c != '\n';
        break;  // RE2's "." does not match a newline
      case Token::kGlobStar:
      case Token::kStart:
      case Token::kEnd:
      case Token::kBoundary:
        break;
    }
    if (!reads) return;
    alive = true;
    if (t.kind == Token::kInside) {
      to.Add(i);
      if (c == '/') Enter(to, i + 1, false);
    } else {
      Enter(to, t.star || t.kind == Token::kRest ? i : i + 1, false);
    }
  });
  return alive;
}

// What comes after conditions that hold between these two characters (kNone: there is none).
void Glob::PassConditions(States& states, char32_t before, char32_t after) const {
  bool boundary = IsWord(before) != IsWord(after);
  for (size_t i = 0; i < program_.tokens.size(); ++i) {
    const Token& t = program_.tokens[i];
    bool holds = (t.kind == Token::kEnd && after == kNone) || (t.kind == Token::kBoundary && boundary == (t.c == 0));
    // Forward only: what a condition enters comes later in the list.
    if (holds && states.Has(i)) Enter(states, i + 1, before == kNone);
  }
}

// The states after all of `path`, in `a` or in `b`; null when no match can begin like this. `after`
// is the character that follows.
const Glob::States* Glob::Run(std::string_view path, char32_t after, States& a, States& b) const {
  States* now = &a;
  States* next = &b;
  Enter(*now, 0, true);
  char32_t before = kNone;
  while (!path.empty()) {
    next->Clear();
    char32_t c = TakeChar(path);
    if (has_conditions_) PassConditions(*now, before, c);
    if (!Step(*now, c, *next)) return nullptr;
    std::swap(now, next);
    before = c;
  }
  if (has_conditions_) PassConditions(*now, before, after);
  return now;
}

bool Glob::Matches(std::string_view path) const {
  switch (kind_) {
    case Kind::kExact:
      return path == text_;
    case Kind::kPrefix:
      return path.starts_with(text_);
    case Kind::kSuffix:  // "**/foo" also matches "foo"
      return path.ends_with(text_) || (text_[0] == '/' && path == std::string_view(text_).substr(1));
    case Kind::kProgram:
      break;
  }
  if (!path.starts_with(prefix_) || !path.ends_with(suffix_)) return false;
  States a(program_.tokens.size()), b(program_.tokens.size());
  const States* end = Run(path, kNone, a, b);
  return end != nullptr && end->Has(program_.tokens.size());
}

bool Glob::MayMatchBelow(std::string_view directory) const {
  if (directory.empty()) return true;
  switch (kind_) {
    case Kind::kExact:
      return text_.size() > directory.size() && SameStart(directory, text_);
    case Kind::kPrefix:
      return SameStart(directory, text_) || directory.starts_with(text_);
    case Kind::kSuffix:
      return true;
    case Kind::kProgram:
      break;
  }
  if (!SameStart(directory, prefix_)) return false;
  States a(program_.tokens.size()), b(program_.tokens.size()), next(program_.tokens.size());
  const States* end = Run(directory, '/', a, b);
  return end != nullptr && Step(*end, '/', next);
}

Status Glob::SetProgram(Program program) {
  if (program.tokens.size() >= kMaxTokens) {
    return Invalid("pattern is too long: it can have at most {} characters", kMaxTokens - 1);
  }
  kind_ = Kind::kProgram;
  program_ = std::move(program);
  const auto& tokens = program_.tokens;
  has_conditions_ = std::any_of(tokens.begin(), tokens.end(),
                                [](const Token& t) { return t.kind == Token::kEnd || t.kind == Token::kBoundary; });
  auto is_literal = [](const Token& t) { return t.kind == Token::kLiteral; };
  auto first = std::find_if_not(tokens.begin(), tokens.end(), is_literal);
  for (auto it = tokens.begin(); it != first; ++it) AppendChar(prefix_, it->c);
  auto last = std::find_if_not(tokens.rbegin(), tokens.rend(), is_literal).base();
  for (auto it = last; it != tokens.end(); ++it) AppendChar(suffix_, it->c);
  if (first == tokens.end()) {
    kind_ = Kind::kExact;
    text_ = prefix_;
  }
  return Ok();
}

Result<Glob> Glob::CompileFileMatch(std::string_view pattern) {
  Glob glob;
  TRY_ASSIGN(Program program, ParseFileMatch(pattern));
  TRY(glob.SetProgram(std::move(program)));
  return glob;
}

Result<Glob> Glob::CompileIgnore(std::string_view pattern) {
  // Validity is filepath.Match's, although the meaning is not.
  if (auto valid = ParseFileMatch(pattern); !valid) return Error(std::move(valid).error());
  Glob glob;
  std::string regex;
  std::string_view rest = pattern;
  while (!rest.empty()) {
    bool first = rest.size() == pattern.size();
    char c = rest[0];
    rest.remove_prefix(1);
    if (c == '*' && rest.starts_with('*')) {
      rest.remove_prefix(1);
      if (rest.starts_with('/')) rest.remove_prefix(1);
      if (!rest.empty()) {
        regex += "(.*/)?";
        glob.kind_ = Kind::kProgram;
      } else if (glob.kind_ == Kind::kExact) {
        glob.kind_ = Kind::kPrefix;
      } else {
        regex += ".*";
        glob.kind_ = Kind::kProgram;
      }
      if (first) glob.kind_ = Kind::kSuffix;
    } else if (c == '*' || c == '?') {
      regex += c == '*' ? "[^/]*" : "[^/]";
      glob.kind_ = Kind::kProgram;
    } else if (IsRegexPunctuation(c)) {
      regex += '\\';
      regex += c;
    } else {
      regex += c;
      if (c == '\\' && !rest.empty()) {
        regex += rest[0];
        rest.remove_prefix(1);
        glob.kind_ = Kind::kProgram;
      } else if (c == '[' || c == ']') {
        glob.kind_ = Kind::kProgram;
      }
    }
  }
  switch (glob.kind_) {
    case Kind::kExact:
      glob.text_ = pattern;
      break;
    case Kind::kPrefix:
      glob.text_ = pattern.substr(0, pattern.size() - 2);
      break;
    case Kind::kSuffix:
      glob.text_ = pattern.substr(2);
      break;
    case Kind::kProgram: {
      TRY_ASSIGN(Program program, ParseGeneratedRegex(regex, pattern));
      TRY(glob.SetProgram(std::move(program)));
    }
  }
  return glob;
}

}  // namespace varve::tree
