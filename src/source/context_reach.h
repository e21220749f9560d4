// The part of a context that selectors can reach, found on the disk before the context is walked.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rel_path.h"
#include "base/result.h"
#include "tree/selection.h"

namespace varve::source {

// A directory of which only some children are reached, or something that is reached as a whole.
struct ReachNode {
  bool all = false;
  std::map<std::string, std::unique_ptr<ReachNode>, std::less<>> children;

  void Add(const RelPath& path);
};

// Follows symlinks on the way of each selector, and at its end if it asks for that, as a chroot
// would; the links themselves are reached too. Wildcards are expanded by listing directories; below
// the wildcard of a selector with `parents`, everything is reached. Paths that are not there are
// not reached: finding that out is FindMatches's business. No selectors: everything.
Result<ReachNode> FindReach(int root_fd, const std::vector<tree::Selector>& selectors);

}  // namespace varve::source
