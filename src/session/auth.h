// Who the client is to registries: docker's credentials on its machine.
//
// A client of today keeps its password: it fetches tokens itself, for scopes that the registry asked for, and says so
// by handing out a public key for our salt (GetTokenAuthority). BuildKit keeps tokens for later sessions that prove to
// have the same key (VerifyTokenAuthority); here a token serves the build of the session that it came from and goes
// with it, so there is nothing to prove.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "session/session.h"

namespace varve::session {

struct Login {
  std::string username;  // empty: `secret` is a refresh token (docker's identitytoken)
  std::string secret;
};
// Nothing: the client has none for this host, or for any.
Result<std::optional<Login>> GetLogin(Session& session, const std::string& host, std::stop_token stop);

struct TokenQuestion {
  std::string host;   // of the registry, "registry-1.docker.io"
  std::string realm;  // URL of the token server
  std::string service;
  std::vector<std::string> scopes;
};
struct ClientToken {
  std::string token;
  int64_t seconds = 60;  // that it is good for, from now
};
// Nothing: this client does not fetch tokens, or was told not to (GetLogin then). kInvalid when the token server
// refuses it.
Result<std::optional<ClientToken>> FetchToken(Session& session, const TokenQuestion& question, Clock& clock,
                                              std::stop_token stop);

}  // namespace varve::session
