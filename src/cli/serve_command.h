// `varve serve ARGS…` becomes `varved ARGS…`, the daemon.
#pragma once

#include <string>
#include <vector>

namespace varve::cli {

// Returns only when it failed: the exit code, after saying why.
int BecomeDaemon(std::vector<std::string> arguments);

}  // namespace varve::cli
