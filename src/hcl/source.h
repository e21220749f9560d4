// Places in a file of HCL, and errors that show them.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace varve::hcl {

struct Source {
  std::string name;  // for messages
  std::string text;
};

// Line and column count from 1; columns are characters, not bytes.
struct Position {
  size_t line = 1, column = 1, byte = 0;
};

// From `start` up to `end`, which is the first position after it. Without a source: nowhere.
struct Range {
  std::shared_ptr<const Source> source;
  Position start, end;

  std::string_view text() const;
  // "docker-bake.hcl:3,5-9", "docker-bake.hcl:3,5-4,2"; "" for nowhere.
  std::string ToString() const;
};

Range RangeOver(const Range& first, const Range& last);

// "FILE:LINE,FROM-TO: summary; detail", and below it the line with a caret under what is meant:
//
//   docker-bake.hcl:2,3-7: Unsupported argument; An argument named "tagz" is not expected here.
//   --------------------
//      1 |     target "web" {
//      2 | >>>   tagz = ["web"]
//        |       ^~~~
//      3 |     }
//   --------------------
Error ErrorAt(const Range& range, std::string_view summary, std::string_view detail);

}  // namespace varve::hcl
