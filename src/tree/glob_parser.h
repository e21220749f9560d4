// Parsers of the two pattern dialects, for glob.cc only.
#pragma once

#include <string_view>

#include "tree/glob.h"

namespace varve::tree {

Error PatternSyntaxError(std::string_view pattern);

// Go's filepath.Match: also decides what a valid pattern is, for both dialects.
Result<Glob::Program> ParseFileMatch(std::string_view pattern);

// The regular expressions that moby/patternmatcher makes of patterns: RE2 syntax, of which
// literals, escapes, classes, `[…]*`, `(.*/)?`, `.*` and `^` can occur.
Result<Glob::Program> ParseGeneratedRegex(std::string_view regex, std::string_view pattern);

}  // namespace varve::tree
