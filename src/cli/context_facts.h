// varve's own rules over the Dockerfile of a build.
#pragma once

#include <vector>

#include "dockerfile/cache_rules.h"
#include "dockerfile/lower.h"
#include "job/build_context.h"

namespace varve::cli {

// `images`: those that lowering resolved. `measure`: say what lies in the context for nothing.
std::vector<dockerfile::CacheHint> FindHints(const dockerfile::Dockerfile& file, const job::BuildFlags& flags,
                                             const job::BuildContext& context,
                                             const std::vector<dockerfile::UsedImage>& images, bool measure);

}  // namespace varve::cli
