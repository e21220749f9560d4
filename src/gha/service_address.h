// Where GitHub's cache service is and which version of its protocol it speaks, from a tier's options and
// from the environment that the runner gives to a job (actions/toolkit packages/cache, internal/config.ts;
// buildx build/opt.go).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace varve::gha {

enum class Protocol { kV1, kV2 };

struct ServiceAddress {
  Protocol protocol = Protocol::kV2;
  std::string url;    // without a final slash
  std::string token;  // a secret
};

// Options of `type=gha`; empty ones come from the environment.
struct ServiceOptions {
  std::string url, url_v2, token, version;
};

// Nothing outside of a job: no token, or no address. kInvalid for options that cannot be.
Result<std::optional<ServiceAddress>> FindService(const ServiceOptions& options,
                                                  const std::function<std::string(const char*)>& environment);

// What a token says of itself; its signature is the service's business.
struct TokenScope {
  std::string ref;  // "refs/heads/main"
  bool read = false, write = false;
};
struct TokenClaims {
  std::vector<TokenScope> scopes;  // empty where the token is no JWT
  std::optional<Timestamp> expires;

  const TokenScope* Writable() const;  // the last that may be written, or null
};
TokenClaims ReadToken(std::string_view token);

}  // namespace varve::gha
