// COPY and ADD (reference dockerfile.md §5).
#pragma once

#include "dockerfile/stage_lower.h"

namespace varve::dockerfile {

Status LowerCopy(const CommandScope& scope, const Copy& copy);
Status LowerAdd(const CommandScope& scope, const Add& add);

// The canonical text of a --chmod value: octal without leading zeros, or symbolic as written.
// kInvalid for anything else.
Result<std::string> ReadMode(const std::string& text);

}  // namespace varve::dockerfile
