// First pass: physical lines → logical lines with their operands cut up. Nothing is judged yet but
// the cutting; typed.h gives the pieces their meaning.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace varve::dockerfile {

struct RawInstruction {
  Origin origin;
  std::vector<std::string> args;
  bool json = false;  // args come from a JSON array
  Span keyword;       // of the first word; no columns if several lines make it
};

struct RawFile {
  Directives directives;
  char escape = '\\';
  std::vector<RawInstruction> instructions;  // at least one
  std::vector<Span> empty_continuations;
};

Parsed<RawFile> ReadRaw(std::string_view text);

}  // namespace varve::dockerfile
