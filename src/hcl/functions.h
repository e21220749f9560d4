// The functions of Bake's expressions: cty's standard library, and Bake's own (buildx
// docs/bake-stdlib.md; reference compose-bake.md, B9).
//
// try, can and convert look at their arguments unevaluated and live in evaluate.cc.
#pragma once

#include <map>
#include <string>

#include "hcl/evaluate.h"

namespace varve::hcl {

const std::map<std::string, Function>& StandardFunctions();

}  // namespace varve::hcl
