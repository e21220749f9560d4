#include "tree/pattern.h"

#include <algorithm>

#include "base/rel_path.h"
#include "base/strings.h"

namespace varve::tree {

namespace {

constexpr size_t kMaxLine = 64 << 10;  // bufio.MaxScanTokenSize

// Calls f with "a", "a/b", … for the parents of "a/b/c", until it returns true.
template <class F>
bool AnyParent(std::string_view path, F&& f) {
  for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
    if (slash > 0 && f(path.substr(0, slash))) return true;
  }
  return false;
}

}  // namespace

Result<bool> FileMatch(std::string_view pattern, std::string_view name) {
  TRY_ASSIGN(Glob glob, Glob::CompileFileMatch(pattern));
  return glob.Matches(name);
}

bool HasWildcards(std::string_view path) {
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '\\') {
      ++i;
    } else if (path[i] == '*' || path[i] == '?' || path[i] == '[') {
      return true;
    }
  }
  return false;
}

Result<std::vector<std::string>> ReadIgnoreFile(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::vector<std::string> patterns;
  for (size_t number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    if (line.size() >= kMaxLine) {
      return Invalid("line {} of the ignore file is longer than {} bytes", number, kMaxLine - 1);
    }
    if (line.starts_with('#')) continue;
    line = TrimSpace(line);
    if (line.empty()) continue;
    bool negated = line.starts_with('!');
    if (negated) line = TrimSpace(line.substr(1));
    std::string pattern;
    if (!line.empty()) {
      pattern = CleanPath(line);
      if (pattern.size() > 1 && pattern[0] == '/') pattern.erase(0, 1);
    }
    patterns.push_back(negated ? "!" + pattern : pattern);
  }
  return patterns;
}

Result<PatternList> PatternList::Compile(const std::vector<std::string>& patterns) {
  PatternList list;
  for (const std::string& written : patterns) {
    std::string_view trimmed = TrimSpace(written);
    if (trimmed.empty()) continue;
    std::string cleaned = CleanPath(trimmed);
    bool negated = cleaned[0] == '!';
    if (negated) cleaned.erase(0, 1);
    if (negated && cleaned.empty()) {
      Error error = Invalid("illegal exclusion pattern: \"!\"");
      error.hint = "name what is to be kept after the !, or remove the line";
      return error;
    }
    TRY_ASSIGN(Glob glob, Glob::CompileIgnore(cleaned));
    list.patterns_.push_back({std::move(glob), negated});
  }
  return list;
}

bool PatternList::Matches(std::string_view path) const {
  bool matched = false;
  for (const Pattern& pattern : patterns_) {
    if (pattern.negated != matched) continue;
    auto match = [&](std::string_view p) { return pattern.glob.Matches(p); };
    if (match(path) || AnyParent(path, match)) matched = !pattern.negated;
  }
  return matched;
}

PatternList::Walk PatternList::Top() const {
  Walk top;
  top.matched_.resize(patterns_.size() / 64 + 1);
  return top;
}

bool PatternList::Matches(std::string_view path, const Walk& parent, Walk* self) const {
  if (self != nullptr) self->matched_.assign(patterns_.size() / 64 + 1, 0);
  bool matched = false;
  for (size_t i = 0; i < patterns_.size(); ++i) {
    const Pattern& pattern = patterns_[i];
    bool match = parent.matched_[i / 64] >> (i % 64) & 1;
    if (!match && pattern.negated == matched) match = pattern.glob.Matches(path);
    if (!match) continue;
    matched = !pattern.negated;
    if (self != nullptr) self->matched_[i / 64] |= uint64_t{1} << (i % 64);
  }
  return matched;
}

bool PatternList::MatchesWalking(std::string_view path) const {
  Walk parent = Top();
  Walk self;
  AnyParent(path, [&](std::string_view directory) {
    Matches(directory, parent, &self);
    std::swap(parent, self);
    return false;
  });
  return Matches(path, parent, nullptr);
}

bool PatternList::MayMatchBelow(std::string_view directory) const {
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const Pattern& pattern) { return !pattern.negated && pattern.glob.MayMatchBelow(directory); });
}

bool PatternList::MayUnmatchBelow(std::string_view directory) const {
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const Pattern& pattern) { return pattern.negated && pattern.glob.MayMatchBelow(directory); });
}

}  // namespace varve::tree
