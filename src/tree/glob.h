// One wildcard pattern, compiled: the engine below tree/pattern.h.
//
// Two dialects meet here. Go's filepath.Match: `*` and `?` stay within a part, `[…]` is a class,
// `\` takes the next character literally. moby/patternmatcher, by which .dockerignore is read: it
// rewrites a pattern into a regular expression, so `**` crosses parts, and regular-expression
// syntax shines through (`\d` is a digit, `^` an anchor, `[*]` is not a star).
//
// Both become a list of tokens that runs as an automaton on a set of states: time is tokens ×
// characters whatever the pattern, where backtracking is exponential in the number of stars.
// std::regex is neither fast nor safe on long input.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace varve::tree {

class Glob {
 public:
  // kInvalid, "syntax error in pattern".
  static Result<Glob> CompileFileMatch(std::string_view pattern);  // Go's filepath.Match
  static Result<Glob> CompileIgnore(std::string_view pattern);     // moby/patternmatcher, cleaned

  bool Matches(std::string_view path) const;

  // Whether `directory` + "/" + something could match. May say yes where nothing does; never the
  // other way round. The root is the empty path.
  bool MayMatchBelow(std::string_view directory) const;

  // How the parsers describe a pattern.
  struct Class {
    std::vector<std::pair<char32_t, char32_t>> ranges;  // code points, both ends included
    bool negated = false;
    bool Contains(char32_t c) const;
  };
  struct Token {
    enum Kind : uint8_t {
      kLiteral,   // c
      kNotSlash,  // any character but '/'
      kClass,     // classes[c]
      kGlobStar,  // nothing, or anything that ends in '/'; always followed by kInside
      kInside,    //   the anything
      kRest,      // anything, also nothing
      // No character, but a condition on the place between two:
      kStart,     // the start of the path
      kEnd,       // the end of the path
      kBoundary,  // between a letter, digit or '_' and something else; c = 1: the opposite
    };
    Kind kind;
    bool star = false;  // any number of them (kNotSlash, kClass)
    char32_t c = 0;
  };
  struct Program {
    std::vector<Token> tokens;
    std::vector<Class> classes;
  };

 private:
  enum class Kind { kExact, kPrefix, kSuffix, kProgram };
  class States;

  Status SetProgram(Program program);
  void Enter(States& states, size_t token, bool at_start) const;
  void PassConditions(States& states, char32_t before, char32_t after) const;
  bool Step(const States& from, char32_t c, States& to) const;
  const States* Run(std::string_view path, char32_t after, States& a, States& b) const;

  Kind kind_ = Kind::kExact;
  std::string text_;  // kExact, kPrefix: of the path; kSuffix: what followed the leading **
  Program program_;
  bool has_conditions_ = false;  // kEnd or kBoundary
  std::string prefix_;           // kProgram: the literal bytes that a match begins and ends with; most paths
  std::string suffix_;           //   are refused by comparing these
};

}  // namespace varve::tree
