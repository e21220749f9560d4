// Which paths a client is to send, from what the steps of a build select of a context.
#pragma once

#include <string>
#include <vector>

#include "tree/selection.h"

namespace varve::daemon {

// For the `followpaths` of a transfer: at least everything that the selectors can reach. Empty: all. Wildcards stay
// where a client expands them as varve does (one path component each).
std::vector<std::string> FollowPaths(const std::vector<tree::Selector>& selectors);

}  // namespace varve::daemon
