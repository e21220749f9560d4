// Places in a Dockerfile, and errors that have one.
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace varve::dockerfile {

// Lines and columns count from 1, columns in bytes; 0 means unknown. Both ends are inclusive.
// Most spans name whole lines: an instruction from its keyword to its last line, here-documents
// included. Columns are set where one word of one physical line is meant.
struct Span {
  int start_line = 0;
  int end_line = 0;
  int start_column = 0;
  int end_column = 0;

  static Span Lines(int start, int end) { return Span{start, end < start ? start : end, 0, 0}; }
  bool operator==(const Span&) const = default;
};

// An error of the user's Dockerfile and where it is; excerpt.h renders the place.
struct SourceError {
  Error error;
  Span span;
};

template <class T>
using Parsed = std::expected<T, SourceError>;

}  // namespace varve::dockerfile
