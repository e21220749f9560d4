// What --no-cache means for RUN --mount=type=cache: a step that is to run whatever is cached finds its cache
// mounts empty, as in BuildKit (a mount that has gone bad is a common reason to ask for it).
#pragma once

#include <string>
#include <vector>

#include "cache/cache_mounts.h"
#include "graph/graph.h"

namespace varve::job {

// Before the graph's first step runs. The ids of mounts that stay as they are, because another build is using them.
Result<std::vector<std::string>> EmptyMountsOfUncached(const graph::Graph& graph, const std::string& name_space,
                                                       cache::CacheMounts& mounts);

}  // namespace varve::job
