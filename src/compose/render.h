// A project as `varve compose config` prints it: YAML with sorted keys, the same bytes for the same
// model.
#pragma once

#include <string>

#include "base/json.h"
#include "compose/project.h"

namespace varve::compose {

// The resolved model: name, active services (only `named` ones if there are some), and the other
// top-level sections. With `env_files`, what those of a service say is part of its environment.
Result<Json> ResolvedModel(const Project& project, const std::vector<std::string>& named, bool env_files);

// Block style; texts are quoted only where a reader would take them for something else.
std::string ToYaml(const Json& value);

}  // namespace varve::compose
