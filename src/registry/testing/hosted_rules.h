// What hosted registries refuse of what docker-registry takes: the rules of all of them together, as far as their
// documents and the reports of other tools tell. A document that passes here should be taken by each.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/digest.h"

namespace varve::registry::testing {

struct HostedRefusal {
  int status = 400;
  std::string code;  // of the error's document
  std::string rule;  // which, and whose
};

// A manifest or an index as it is pushed. `has_blob`, `has_manifest`: what the repository holds.
std::optional<HostedRefusal> RefusedByHosts(const std::string& media_type, const std::string& text,
                                            const std::function<bool(const Digest&)>& has_blob,
                                            const std::function<bool(const Digest&)>& has_manifest);

}  // namespace varve::registry::testing
