// `varve bake --list`: what a definition has, as a table or as JSON.
#pragma once

#include <string>

#include "bake/definition.h"

namespace varve::cli {

// `what`: "targets", "variables", or "type=…,format=table|json". kInvalid for anything else.
Result<std::string> ListOf(const bake::Definition& definition, const std::string& what);

}  // namespace varve::cli
