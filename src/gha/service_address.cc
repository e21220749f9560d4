#include "gha/service_address.h"

#include <algorithm>

#include "base/hex.h"
#include "base/json.h"
#include "base/strings.h"
#include "net/url.h"

namespace varve::gha {

namespace {

constexpr std::string_view kResultsHost = "results-receiver.actions.githubusercontent.com";

// GitHub Enterprise Server has version 1 alone, whatever the environment says.
bool IsEnterpriseServer(const std::string& server) {
  if (server.empty()) return false;
  auto url = net::ParseUrl(server);
  if (!url) return false;
  return url->host != "github.com" && !url->host.ends_with(".ghe.com") && !url->host.ends_with(".localhost");
}

std::string WithoutSlash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

}  // namespace

Result<std::optional<ServiceAddress>> FindService(const ServiceOptions& options,
                                                  const std::function<std::string(const char*)>& environment) {
  if (!options.version.empty() && options.version != "1" && options.version != "2") {
    Error error = Invalid("version={} of the cache service is not known", options.version);
    error.hint = "write version=1 or version=2, or leave it out";
    return error;
  }
  ServiceAddress found{.token = options.token.empty() ? environment("ACTIONS_RUNTIME_TOKEN") : options.token};
  if (found.token.empty()) return std::optional<ServiceAddress>();

  std::string flag = environment("ACTIONS_CACHE_SERVICE_V2");
  bool announced =
      !flag.empty() && ParseBool(flag).value_or(true) && !IsEnterpriseServer(environment("GITHUB_SERVER_URL"));
  std::string url_v2 = options.url_v2;
  if (url_v2.empty() && options.url.empty() && (announced || options.version == "2")) {
    url_v2 = environment("ACTIONS_RESULTS_URL");
  }
  std::string url = options.url;
  if (url.empty()) url = environment("ACTIONS_CACHE_URL");
  if (url.empty()) url = environment("ACTIONS_RESULTS_URL");

  if (options.version != "1" && !url_v2.empty()) {
    found.url = url_v2;
  } else {
    bool v2 = options.version == "2" || (options.version.empty() && url.find(kResultsHost) != url.npos);
    found.url = url;
    found.protocol = v2 ? Protocol::kV2 : Protocol::kV1;
  }
  if (found.url.empty()) return std::optional<ServiceAddress>();
  TRY_ASSIGN(net::Url parsed, net::ParseUrl(found.url));
  // The runner's addresses end with a slash. Version 2 is at the root of its host (toolkit, cacheTwirpClient.ts).
  found.url = found.protocol == Protocol::kV2 ? parsed.Origin() : WithoutSlash(found.url);
  return std::optional<ServiceAddress>(std::move(found));
}

const TokenScope* TokenClaims::Writable() const {
  auto it = std::find_if(scopes.rbegin(), scopes.rend(), [](const TokenScope& scope) { return scope.write; });
  return it == scopes.rend() ? nullptr : &*it;
}

TokenClaims ReadToken(std::string_view token) {
  TokenClaims claims;
  std::vector<std::string> parts = Split(token, '.');
  if (parts.size() != 3) return claims;
  std::string payload;
  parts[1].append((4 - parts[1].size() % 4) % 4, '=');
  if (!Base64Decode(parts[1], &payload)) return claims;
  auto json = Json::Parse(payload);
  if (!json) return claims;
  if (int64_t expires = json->GetInt("exp"); expires != 0) claims.expires = Timestamp{expires * 1'000'000'000};
  auto allowed = Json::Parse(json->GetString("ac", "[]"));
  if (!allowed || !allowed->is_array()) return claims;
  for (const Json& scope : allowed->as_array()) {
    int64_t permission = scope.GetInt("Permission");
    claims.scopes.push_back({scope.GetString("Scope"), (permission & 1) != 0, (permission & 2) != 0});
  }
  return claims;
}

}  // namespace varve::gha
