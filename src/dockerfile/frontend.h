// Which front end a file asks for. There is one here, and it reads the language of docker/dockerfile; the daemon runs
// others as containers.
#pragma once

#include <optional>
#include <string_view>

#include "dockerfile/lower_scope.h"
#include "dockerfile/parser.h"
#include "dockerfile/span.h"

namespace varve::dockerfile {

// "dockerfile.v0" and the images docker/dockerfile and docker/dockerfile-upstream, also where a registry mirrors them
// ("registry.example.com/hub/docker/dockerfile:1"), whatever their tag.
bool IsDockersFrontend(std::string_view image);

// What a file asks for: the build argument BUILDKIT_SYNTAX, else its `syntax` (parser.h, DetectSyntax). The span of the
// argument is empty. To be asked before parsing: such a file need not be a Dockerfile.
std::optional<Syntax> FrontendOf(std::string_view text, const BuildArgs& build_args);

// For those who run no images: refuses a file that is for another front end. Every image whose name begins with
// "dockerfile" counts as the one here, since mirrors give it names of all kinds.
Parsed<void> CheckFrontend(std::string_view text, const BuildArgs& build_args);

}  // namespace varve::dockerfile
