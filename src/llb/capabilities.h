// What a client may ask for, in BuildKit's names (solver/pb/caps.go, frontend/gateway/pb/caps.go). The
// daemon's Ping tells these tables; an Op that asks for what they say no to is refused.
//
// A client refuses by itself to send what is not announced, or goes without it (reference
// daemon-api.md §3.1), so a yes here is a promise.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"

namespace varve::llb {

struct Capability {
  std::string_view id;
  std::string_view missing = {};  // why not; empty: it is there
  bool enabled() const { return missing.empty(); }
};

std::span<const Capability> LlbCapabilities();
std::span<const Capability> FrontendCapabilities();  // of the service LLBBridge

// kInvalid where an Op cannot be what its client wants.
Status RequireCapability(std::string_view llb_capability);

}  // namespace varve::llb
