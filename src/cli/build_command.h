// `varve build`.
#pragma once

#include "cli/build_flags.h"

namespace varve::cli {

// Returns the exit code (cli/exit_code.h). Everything that goes wrong has been said on stderr.
int RunBuild(const GlobalFlags& global, const BuildFlags& flags);

}  // namespace varve::cli
