// Lowering for several target platforms: the file is lowered once for each, and the graphs become
// one, in which the stages that run natively for all of them are there once.
#pragma once

#include <vector>

#include "dockerfile/lower.h"
#include "graph/join.h"

namespace varve::dockerfile {

struct PlatformResult {
  oci::Platform platform;  // as asked for
  Lowered lowered;         // without its graph; its references are into LoweredPlatforms::graph
};

struct LoweredPlatforms {
  graph::Graph graph;
  std::vector<PlatformResult> results;  // in the order of the platforms
  // The image is an index, not a bare manifest: several platforms, or BUILDKIT_MULTI_PLATFORM=1.
  bool multi_platform = false;
};

// Everything in `lowered` that names a step of its graph, which is number `which` of the joined ones.
void MoveReferences(Lowered& lowered, const graph::Joined& joined, size_t which);

// Whether an image for so many platforms is an index. BUILDKIT_MULTI_PLATFORM among the build
// arguments may ask for the shape, but several platforms have only one: kInvalid.
Result<bool> IsMultiPlatform(const std::vector<std::pair<std::string, std::string>>& build_args, size_t platforms);

// `options.target_platform` and `multi_platform` are set for each platform; `platforms` is not
// empty. The resolver is asked from as many threads as there are platforms. An error is that of the
// first platform that has one, and `warnings` are those of the first platform (BuildKit shows no
// others).
Parsed<LoweredPlatforms> LowerForPlatforms(const Dockerfile& file, const LowerOptions& options,
                                           const std::vector<oci::Platform>& platforms, ImageResolver& resolver,
                                           std::vector<Warning>* warnings = nullptr);

}  // namespace varve::dockerfile
