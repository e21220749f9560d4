// Which front end a file asks for. There is one here, and it reads the language of
// docker/dockerfile.
#pragma once

#include <string_view>

#include "dockerfile/lower_scope.h"
#include "dockerfile/span.h"

namespace varve::dockerfile {

// Refuses a file that is for another front end: its `syntax` (parser.h, DetectSyntax), or the build
// argument BUILDKIT_SYNTAX, which beats it. Every image whose name begins with "dockerfile" counts
// as this one, wherever it is mirrored and whatever its tag, and so does "dockerfile.v0". To be
// asked before parsing: such a file need not be a Dockerfile.
Parsed<void> CheckFrontend(std::string_view text, const BuildArgs& build_args);

}  // namespace varve::dockerfile
