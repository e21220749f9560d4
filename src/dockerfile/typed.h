// Second pass: the pieces of a logical line (raw.h) → a typed instruction.
#pragma once

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/raw.h"

namespace varve::dockerfile {

// Everything but FROM. kInvalid.
Result<Body> TypeBody(const RawInstruction& raw);

// FROM, without its instructions.
Result<Stage> TypeStage(const RawInstruction& raw);

// RUN, ADD, COPY: typed_files.cc.
Result<Body> TypeRun(const RawInstruction& raw);
Result<Body> TypeAdd(const RawInstruction& raw);
Result<Body> TypeCopy(const RawInstruction& raw);

// The command line of the shell-or-exec instructions, from `args` on.
CommandLine TypeCommandLine(const RawInstruction& raw, size_t first = 0);

// The rest of a comment that begins with `name` and a blank, or "".
std::string DescriptionOf(const std::vector<std::string>& comments, std::string_view name);

}  // namespace varve::dockerfile
