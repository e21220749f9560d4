// Where exactly an error is: the word of an instruction that its message speaks of.
//
// Most errors know their instruction and not their column: the words that an instruction is made of
// have lost their places by the time that something is wrong with them (continuations joined,
// quotes removed, variables expanded). The message, however, names what is wrong, so that the word
// can be found again. A message that names nothing is about the instruction as a whole: its
// keyword.
#pragma once

#include <string>
#include <string_view>

#include "dockerfile/span.h"

namespace varve::dockerfile {

// `span` with the columns of one word of one of its lines. A span that has columns, or lies outside
// of `source`, comes back as it is.
Span PlaceOfError(std::string_view message, std::string_view source, const Span& span);

// The excerpt of excerpt.h for an error: a head with line and column, and a line that points there.
//
//   Dockerfile:2:6
//   --------------------
//      1 |     FROM a
//      2 | >>> COPY --form=x a b
//        |          ^~~~~~
//      3 |
//   --------------------
std::string RenderError(std::string_view filename, std::string_view source, std::string_view message, const Span& span);

}  // namespace varve::dockerfile
