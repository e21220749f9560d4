// Who we are to a registry: Basic, or a Bearer token from the realm that the registry names
// (distribution "Token Authentication Specification" and "OAuth2 Token Authentication").
//
// Nothing is sent before a registry asks. From then on, tokens are fetched ahead of requests whose
// scope has none yet or whose token ran out, so that only the first request pays for a refusal.
// Safe from several threads.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/guarded.h"
#include "net/http_client.h"
#include "net/retry.h"
#include "registry/challenge.h"
#include "registry/config.h"
#include "registry/credentials.h"

namespace varve::registry {

// "repository:library/node:pull", …
using Scopes = std::set<std::string>;
std::string PullScope(const std::string& repository);
std::string PushScope(const std::string& repository);
std::string DeleteScope(const std::string& repository);

class Authenticator {
 public:
  Authenticator(net::HttpClient& http, CredentialStore& credentials, Clock& clock, net::Sleeper& sleeper,
                const net::RetryPolicy& retry)
      : http_(http), credentials_(credentials), clock_(clock), sleeper_(sleeper), retry_(retry) {}

  // The Authorization header to send; empty while the registry has not asked for one.
  Result<std::string> HeaderFor(const Endpoint& endpoint, const Scopes& scopes, std::stop_token stop);

  // After a 401 to a request that carried `sent`: the header to try again with.
  // kInvalid with a hint to log in: no credentials, or they are refused.
  Result<std::string> Answer(const Endpoint& endpoint, const Scopes& scopes, const net::Response& refusal,
                             const std::string& sent, std::stop_token stop);

 private:
  struct Token {
    std::string header;
    std::optional<Timestamp> expires;  // nothing: Basic, for ever
  };
  Token Bearer(const std::string& text, int64_t seconds) const;
  struct State {
    std::map<std::string, Challenge> challenges;  // by endpoint
    std::map<std::string, Token> tokens;          // by endpoint and scopes
  };

  Result<Token> Obtain(const Endpoint& endpoint, const Challenge& challenge, const Scopes& scopes,
                       std::stop_token stop);
  // Nothing: nobody else fetches tokens for us.
  Result<std::optional<Token>> TokenOfOthers(const Endpoint& endpoint, const Challenge& challenge, const Scopes& scopes,
                                             std::stop_token stop);
  Result<Token> FetchToken(const Endpoint& endpoint, const Challenge& challenge, const Scopes& scopes,
                           const std::optional<Credential>& credential, std::stop_token stop);
  Result<net::Reply> AskRealm(const net::Request& request, std::stop_token stop);

  net::HttpClient& http_;
  CredentialStore& credentials_;
  Clock& clock_;
  net::Sleeper& sleeper_;
  const net::RetryPolicy retry_;
  Guarded<State> state_;
};

}  // namespace varve::registry
