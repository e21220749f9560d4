// Patterns that name files: wildcards of COPY sources, and the lists of .dockerignore and
// --exclude.
//
// All paths here are relative, cleaned and use '/'. Compiled patterns are immutable: safe from any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tree/glob.h"

namespace varve::tree {

// Go's filepath.Match(pattern, name). kInvalid "syntax error in pattern".
Result<bool> FileMatch(std::string_view pattern, std::string_view name);

// Whether a path given by a user has `*`, `?` or `[` that no backslash takes literally.
bool HasWildcards(std::string_view path);

// The patterns of an ignore file, cleaned: byte order mark dropped, lines that start with '#' and
// empty lines skipped, blanks trimmed, leading '/' removed, "!" kept in front. kInvalid for a line
// longer than 64 KiB, as in the reference implementation.
Result<std::vector<std::string>> ReadIgnoreFile(std::string_view text);

// A list of ignore patterns; the last one that matches decides, and "!pattern" decides for "not
// matched". A pattern that matches a directory matches what is in it.
//
// A walk carries the answer for each directory down to its children:
//
//   PatternList::Walk root = list.Top();
//   PatternList::Walk child;
//   bool ignored = list.Matches("node_modules", root, &child);
//   if (ignored && !list.MayUnmatchBelow("node_modules")) …            // no need to list it
//   list.Matches("node_modules/x/package.json", child, nullptr);
class PatternList {
 public:
  // Patterns as from ReadIgnoreFile, or as written in --exclude. kInvalid for a malformed one, and
  // `illegal exclusion pattern: "!"`.
  static Result<PatternList> Compile(const std::vector<std::string>& patterns);

  bool empty() const { return patterns_.empty(); }

  // patternmatcher's MatchesOrParentMatches.
  bool Matches(std::string_view path) const;

  // Which patterns matched a directory or a parent of it.
  class Walk {
   private:
    friend class PatternList;
    std::vector<uint64_t> matched_;
  };
  Walk Top() const;
  // patternmatcher's MatchesUsingParentResults, by which BuildKit walks contexts. It differs from
  // Matches in one corner: a "!" pattern that matches a directory which nothing before it matched
  // does not count for what later patterns match inside. `self`, for a directory, may be null.
  bool Matches(std::string_view path, const Walk& parent, Walk* self) const;
  // The same for a path out of the blue: walks down to it.
  bool MatchesWalking(std::string_view path) const;

  // For a directory that does not match: may something below match? For one that matches: may
  // something below not? Both are also true where that cannot be told cheaply.
  bool MayMatchBelow(std::string_view directory) const;
  bool MayUnmatchBelow(std::string_view directory) const;

 private:
  struct Pattern {
    Glob glob;
    bool negated;
  };
  std::vector<Pattern> patterns_;
};

}  // namespace varve::tree
