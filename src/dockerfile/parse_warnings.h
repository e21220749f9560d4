// Warnings of a Dockerfile that cannot be read to its end: those of the instructions before the error, which the user
// would otherwise learn of one build later.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/lint.h"

namespace varve::dockerfile {

// Of the lines above `line`, by the rules that need no lowering. `override_value` as in FileCheckOptions.
std::vector<Warning> WarningsAbove(std::string_view text, int line, const std::optional<std::string>& override_value);

}  // namespace varve::dockerfile
