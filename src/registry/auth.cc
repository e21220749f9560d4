#include "registry/auth.h"

#include <algorithm>

#include "base/hex.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "net/url.h"
#include "registry/answer.h"

namespace varve::registry {

namespace {

constexpr uint64_t kMaxTokenAnswer = 1 << 20;

std::string TokenKey(const Endpoint& endpoint, const Scopes& scopes) {
  std::string key = endpoint.url;
  for (const std::string& scope : scopes) key += " " + scope;
  return key;
}

std::string BasicHeader(const std::string& name, const std::string& password) {
  return "Basic " + Base64Encode(name + ":" + password);
}

// "repository:a:push,pull" → "repository:a:pull,push", so that equal scopes are sent once.
std::string NormaliseScope(const std::string& scope) {
  size_t colon = scope.rfind(':');
  if (colon == std::string::npos) return scope;
  std::vector<std::string> actions = Split(scope.substr(colon + 1), ',');
  std::ranges::sort(actions);
  return scope.substr(0, colon + 1) + Join(actions, ",");
}

// A scope that another one includes is left out: "a:pull" beside "a:pull,push".
Scopes Merge(const Scopes& own, const std::string& asked_for) {
  Scopes all = own;
  for (const std::string& scope : Split(asked_for, ' ')) {
    if (!scope.empty()) all.insert(NormaliseScope(scope));
  }
  std::erase_if(all,
                [&](const std::string& scope) { return scope.ends_with(":pull") && all.contains(scope + ",push"); });
  return all;
}

const Challenge* Best(const std::vector<Challenge>& challenges) {
  for (const char* scheme : {"bearer", "basic"}) {
    auto found = std::ranges::find(challenges, scheme, &Challenge::scheme);
    if (found != challenges.end()) return &*found;
  }
  return nullptr;
}

Error LoginError(const Endpoint& endpoint, bool had_credential, std::string_view reason) {
  Error error = Invalid("{} refuses access{}{}", endpoint.host, reason.empty() ? "" : ": ", reason);
  std::string command = LoginCommand(endpoint.host);
  error.hint = had_credential ? fmt::format("the credentials in docker's config.json are refused: run {}", command)
                              : fmt::format("needs a login: run {}", command);
  return error;
}

// Where tokens are to be had.
Result<net::Url> RealmOf(const Endpoint& endpoint, const Challenge& challenge) {
  auto realm = net::ParseUrl(challenge.Get("realm"));
  if (!realm) return std::move(realm).error().With(endpoint.host + " names a bad token realm");
  // A registry spoken to in the clear may have its realm there, too; others may not move the
  // credentials off TLS.
  if (realm->scheme == "http" && !endpoint.url.starts_with("http://") && !net::IsLoopback(realm->host)) {
    return Invalid("{} wants its login sent to {} without encryption", endpoint.host, realm->Origin());
  }
  return realm;
}

}  // namespace

std::string PullScope(const std::string& repository) { return "repository:" + repository + ":pull"; }

std::string PushScope(const std::string& repository) { return "repository:" + repository + ":pull,push"; }

std::string DeleteScope(const std::string& repository) { return "repository:" + repository + ":delete"; }

Result<std::string> Authenticator::HeaderFor(const Endpoint& endpoint, const Scopes& scopes, std::stop_token stop) {
  std::optional<Challenge> challenge;
  {
    auto state = state_.Lock();
    auto token = state->tokens.find(TokenKey(endpoint, scopes));
    if (token != state->tokens.end() && (!token->second.expires || clock_.Now() < *token->second.expires)) {
      return token->second.header;
    }
    auto known = state->challenges.find(endpoint.url);
    if (known == state->challenges.end()) return std::string();
    challenge = known->second;
  }
  TRY_ASSIGN(Token token, Obtain(endpoint, *challenge, scopes, stop));
  std::string header = token.header;
  state_.Lock()->tokens[TokenKey(endpoint, scopes)] = std::move(token);
  return header;
}

Result<std::string> Authenticator::Answer(const Endpoint& endpoint, const Scopes& scopes, const net::Response& refusal,
                                          const std::string& sent, std::stop_token stop) {
  std::vector<Challenge> challenges = ParseChallenges(refusal.AllHeaders("WWW-Authenticate"));
  const Challenge* challenge = Best(challenges);
  if (challenge == nullptr) {
    return LoginError(endpoint, !sent.empty(), "it asks for no login that varve knows");
  }
  TRY_ASSIGN(Token token, Obtain(endpoint, *challenge, scopes, stop));
  if (token.header == sent) return LoginError(endpoint, true, "");
  std::string header = token.header;
  auto state = state_.Lock();
  // What is kept for later requests has no scope: theirs differ.
  Challenge general = *challenge;
  general.parameters.erase("scope");
  state->challenges[endpoint.url] = std::move(general);
  state->tokens[TokenKey(endpoint, scopes)] = std::move(token);
  return header;
}

Result<Authenticator::Token> Authenticator::Obtain(const Endpoint& endpoint, const Challenge& challenge,
                                                   const Scopes& scopes, std::stop_token stop) {
  if (challenge.scheme == "bearer") {
    TRY_ASSIGN(std::optional<Token> token, TokenOfOthers(endpoint, challenge, scopes, stop));
    if (token) return std::move(*token);
  }
  auto found = credentials_.Find(endpoint.host, stop);
  std::string trouble;
  if (!found) {
    if (found.error().code == Code::kCancelled) return std::move(found).error();
    // A helper left behind by an uninstalled program must not stop the pull of a public image.
    trouble = found.error().ToString();
    LOG_WARN("{}; going on without credentials", found.error().message);
    found = std::optional<Credential>();
  }
  std::optional<Credential> credential = std::move(*found);
  Result<Token> token = Token();
  if (challenge.scheme == "bearer") {
    token = FetchToken(endpoint, challenge, scopes, credential, stop);
  } else if (credential && !credential->username.empty()) {
    token = Token{BasicHeader(credential->username, credential->password), {}};
  } else {
    token = LoginError(endpoint, false, "");
  }
  if (!token && !trouble.empty()) {
    Error error = std::move(token).error();
    error.hint = trouble;
    return error;
  }
  return token;
}

Result<std::optional<Authenticator::Token>> Authenticator::TokenOfOthers(const Endpoint& endpoint,
                                                                         const Challenge& challenge,
                                                                         const Scopes& scopes, std::stop_token stop) {
  // They send the credentials there, as we would.
  TRY_ASSIGN(net::Url realm, RealmOf(endpoint, challenge));
  const Scopes wanted = Merge(scopes, challenge.Get("scope"));
  auto found = credentials_.FetchToken({.host = endpoint.host,
                                        .realm = realm.String(),
                                        .service = challenge.Get("service"),
                                        .scopes = {wanted.begin(), wanted.end()}},
                                       std::move(stop));
  if (!found) {
    if (found.error().code != Code::kInvalid) return std::move(found).error();
    return LoginError(endpoint, true, found.error().message);
  }
  if (!*found) return std::optional<Token>();
  return std::optional(Bearer((*found)->token, (*found)->seconds));
}

// A tenth is kept back for the time that the answer and the next request take.
Authenticator::Token Authenticator::Bearer(const std::string& text, int64_t seconds) const {
  const int64_t good_for = std::clamp<int64_t>(seconds, 60, 24 * 3600);
  return Token{"Bearer " + text, Timestamp{clock_.Now().nanos + good_for * 900'000'000}};
}

Result<Authenticator::Token> Authenticator::FetchToken(const Endpoint& endpoint, const Challenge& challenge,
                                                       const Scopes& scopes,
                                                       const std::optional<Credential>& credential,
                                                       std::stop_token stop) {
  TRY_ASSIGN(net::Url realm, RealmOf(endpoint, challenge));
  std::string service = challenge.Get("service");
  Scopes wanted = Merge(scopes, challenge.Get("scope"));
  net::Request request{.url = realm.String(), .tls = endpoint.tls};
  if (credential && !credential->identity_token.empty()) {
    std::vector<std::string> list(wanted.begin(), wanted.end());
    net::Url form;
    form.AddQuery("grant_type", "refresh_token")
        .AddQuery("service", service)
        .AddQuery("client_id", "varve")
        .AddQuery("access_type", "offline")
        .AddQuery("scope", Join(list, " "))
        .AddQuery("refresh_token", credential->identity_token);
    request.method = "POST";
    request.body = form.query;
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
  } else {
    if (!service.empty()) realm.AddQuery("service", service);
    for (const std::string& scope : wanted) realm.AddQuery("scope", scope);
    if (credential) {
      realm.AddQuery("account", credential->username);
      request.headers = {{"Authorization", BasicHeader(credential->username, credential->password)}};
    }
    request.url = realm.String();
  }
  TRY_ASSIGN(net::Reply reply, AskRealm(request, stop));
  int status = reply.head.status;
  if (status >= 400 && status < 500 && status != 408 && status != 429) {
    return LoginError(endpoint, credential.has_value(), RefusalText(reply.body));
  }
  if (status != 200) {
    return Unavailable("{}: token server {} answers {}", endpoint.host, realm.Authority(), status);
  }
  auto json = Json::Parse(reply.body);
  std::string text = json ? json->GetString("token") : "";
  if (json && text.empty()) text = json->GetString("access_token");
  if (text.empty()) {
    return Unavailable("{}: token server {} answers without a token", endpoint.host, realm.Authority());
  }
  // 60 s is what the specification says of answers without expires_in.
  return Bearer(text, json->GetInt("expires_in", 60));
}

Result<net::Reply> Authenticator::AskRealm(const net::Request& request, std::stop_token stop) {
  net::Retrier retrier(retry_, sleeper_);
  while (true) {
    Counter("registry.requests").Add();
    auto reply = http_.Fetch(request, kMaxTokenAnswer, stop);
    std::optional<Nanos> retry_after;
    if (reply) {
      if (!net::IsRetryableStatus(reply->head.status)) return reply;
      retry_after = net::ParseRetryAfter(reply->head.Header("Retry-After"), clock_.Now());
    } else if (reply.error().code != Code::kUnavailable) {
      return reply;
    }
    if (!retrier.Wait(retry_after, stop)) {
      if (stop.stop_requested()) return Cancelled("login to {} was cancelled", net::Redact(request.url));
      return reply;
    }
    Counter("registry.retries").Add();
  }
}

}  // namespace varve::registry
