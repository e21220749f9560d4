// The lines of a source file around a place, as errors and warnings show them:
//
//   Dockerfile:2
//   --------------------
//      1 |     FROM alpine
//      2 | >>> RNU echo hi
//      3 |     RUN true
//   --------------------
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "dockerfile/span.h"

namespace varve::dockerfile {

// Marks every line of `spans`. Two lines of context on each side of a single line, one on each side
// of several. Empty when there is no span or it lies outside of `source`.
std::string RenderExcerpt(std::string_view filename, std::string_view source, std::span<const Span> spans);

}  // namespace varve::dockerfile
