// Credentials as docker keeps them: config.json and its credential helpers.
//
//   auths        {"host": {"auth": base64("name:password")} | {"username", "password"} |
//                 {"identitytoken"}}
//   credHelpers  {"host": "NAME"}: docker-credential-NAME is asked for this host
//   credsStore   "NAME": docker-credential-NAME is asked for every other host
//
// Hosts are compared without scheme and path. Docker Hub's entry is https://index.docker.io/v1/.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/guarded.h"
#include "base/json.h"
#include "base/result.h"

namespace varve::registry {

struct Credential {
  std::string username;
  std::string password;
  std::string identity_token;  // an OAuth2 refresh token, instead of a password
  bool operator==(const Credential&) const = default;
};

// $DOCKER_CONFIG, else $HOME/.docker; empty when there is neither.
std::string DockerConfigDirectory();

// Asks somebody else for the credentials of a host: a daemon asks its client. Docker Hub is "registry-1.docker.io".
using CredentialLookup =
    std::function<Result<std::optional<Credential>>(const std::string& host, std::stop_token stop)>;

// A bearer token as a registry's challenge asks for it.
struct TokenRequest {
  std::string host;   // the registry
  std::string realm;  // URL of the token server
  std::string service;
  std::vector<std::string> scopes;
};
struct BearerToken {
  std::string token;
  int64_t seconds = 60;  // how long it is good for, from now
};
// Asks somebody else to log in and hand over a token alone: the password stays there. Nothing: it does not do that,
// and its credentials are to be asked for. kInvalid when the token server refuses it.
using TokenLookup =
    std::function<Result<std::optional<BearerToken>>(const TokenRequest& request, std::stop_token stop)>;

// Safe from several threads. Nothing is read before the first question; answers are remembered.
class CredentialStore {
 public:
  // With a `lookup`, nothing is read from the directory.
  explicit CredentialStore(std::string directory, CredentialLookup lookup = nullptr, TokenLookup tokens = nullptr)
      : directory_(std::move(directory)), lookup_(std::move(lookup)), tokens_(std::move(tokens)) {}

  // Nothing: no credentials for this host. kInvalid: config.json or a helper is broken.
  Result<std::optional<Credential>> Find(const std::string& host, std::stop_token stop);
  // Nothing: there is nobody who logs in by themselves. Not remembered.
  Result<std::optional<BearerToken>> FetchToken(const TokenRequest& request, std::stop_token stop);

 private:
  struct State {
    std::optional<Json> document;
    std::map<std::string, std::optional<Credential>> known;
  };
  Result<std::optional<Credential>> LookUp(const Json& document, const std::string& host, std::stop_token stop);

  const std::string directory_;
  const CredentialLookup lookup_;
  const TokenLookup tokens_;
  Guarded<State> state_;
};

// Runs `docker-credential-NAME get` (docker/docker-credential-helpers: the server's name on stdin,
// JSON on stdout). Nothing: it has none for this server. kInvalid: not installed, or it fails.
Result<std::optional<Credential>> AskCredentialHelper(const std::string& name, const std::string& server,
                                                      std::stop_token stop);

}  // namespace varve::registry
