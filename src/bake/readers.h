// The two halves of Read. Internal to the module.
#pragma once

#include <span>

#include "bake/definition.h"
#include "hcl/syntax.h"

namespace varve::bake {

// All bodies as one, over what Compose files have defined already.
Status ReadBodies(const std::vector<hcl::Body>& bodies, const ReadOptions& options, Definition& out);

// All Compose files as one project.
Status ReadCompose(const std::vector<File>& files, const ReadOptions& options, Definition& out);
// Whether the text is a Compose file; kInvalid with the reason where it is not.
Status CheckCompose(const File& file, const ReadOptions& options);

}  // namespace varve::bake
