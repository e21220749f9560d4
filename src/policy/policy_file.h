// Source policies as files, the JSON that BuildKit's clients read (`buildctl build --source-policy-file`,
// EXPERIMENTAL_BUILDKIT_SOURCE_POLICY of buildx):
//
//   {"rules": [{"action": "CONVERT",
//               "selector": {"identifier": "docker-image://docker.io/library/*", "match_type": "WILDCARD",
//                            "constraints": [{"key": "…", "value": "…", "condition": "EQUAL"}]},
//               "updates": {"identifier": "docker-image://mirror.example.com/$1", "attrs": {"…": "…"}}}]}
//
// Names of actions and the like may be their numbers, too. A member that has no meaning is an error here: a rule that
// is misspelt would let through what it was to keep out.
#pragma once

#include <string_view>

#include "policy/source_rules.h"

namespace varve::policy {

// kInvalid says which rule, and what is wrong with it.
Result<SourceRules> ParsePolicyFile(std::string_view json);

}  // namespace varve::policy
