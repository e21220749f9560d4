// The container engine of this machine: docker where an engine answers, else podman.
#pragma once

#include <stop_token>
#include <string>

#include "base/result.h"

namespace varve::job {

// "docker" or "podman"; kNotFound when there is neither.
Result<std::string> FindImageTool(std::stop_token stop);

}  // namespace varve::job
