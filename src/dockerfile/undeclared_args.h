// Names on the command line that the file does not have, and build arguments that look misspelt. The reference ignores
// what nobody declares without a word, and so does varve; but a name next to a declared one is most likely meant to be
// that one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "dockerfile/ast.h"

namespace varve::dockerfile {

// One sentence each: `build argument VERSOIN is not declared (did you mean VERSION?)`.
std::vector<std::string> MisspeltBuildArgs(const Dockerfile& file,
                                           const std::vector<std::pair<std::string, std::string>>& build_args);

// The same of --no-cache-filter, which does nothing for a stage that is not there: a line for each such name.
std::vector<std::string> UnknownFilteredStages(const Dockerfile& file, const std::vector<std::string>& no_cache_filter);

}  // namespace varve::dockerfile
