#include "registry/credentials.h"

#include <cstdlib>

#include "base/fd.h"
#include "base/hex.h"
#include "base/strings.h"

namespace varve::registry {

namespace {

constexpr std::string_view kHubKey = "index.docker.io";

// What "https://index.docker.io/v1/", "https://host" and "host/path" have in common with a host.
std::string HostOfKey(std::string_view key) {
  if (size_t scheme = key.find("://"); scheme != key.npos) key.remove_prefix(scheme + 3);
  std::string host = ToLower(key.substr(0, key.find('/')));
  if (host == "docker.io" || host == "registry-1.docker.io") host = kHubKey;
  return host;
}

const Json* FindHost(const Json& document, std::string_view member, const std::string& host) {
  const Json* found = nullptr;
  for (const auto& [key, value] : document.GetObject(member)) {
    if (HostOfKey(key) != host) continue;
    // An exact key goes before one with a path.
    if (found == nullptr || key == host) found = &value;
  }
  return found;
}

Result<std::optional<Credential>> ParseEntry(const Json& entry, const std::string& host) {
  Credential credential{.username = entry.GetString("username"),
                        .password = entry.GetString("password"),
                        .identity_token = entry.GetString("identitytoken")};
  if (std::string auth = entry.GetString("auth"); !auth.empty()) {
    std::string decoded;
    size_t colon = std::string::npos;
    if (Base64Decode(auth, &decoded)) colon = decoded.find(':');
    if (colon == std::string::npos) {
      Error error = Invalid("docker's config.json: \"auth\" of {} is not base64 of name:password", host);
      error.hint = fmt::format("run docker login {}", host);
      return error;
    }
    credential.username = decoded.substr(0, colon);
    credential.password = decoded.substr(colon + 1);
    // docker login pads with zero bytes.
    while (credential.password.ends_with('\0')) credential.password.pop_back();
  }
  if (credential.username.empty() && credential.identity_token.empty()) {
    return std::optional<Credential>();
  }
  return std::optional<Credential>(std::move(credential));
}

}  // namespace

std::string DockerConfigDirectory() {
  if (const char* directory = std::getenv("DOCKER_CONFIG"); directory && *directory) {
    return directory;
  }
  const char* home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.docker" : "";
}

Result<std::optional<Credential>> CredentialStore::Find(const std::string& host, std::stop_token stop) {
  if (directory_.empty() && !lookup_) return std::optional<Credential>();
  std::string key = HostOfKey(host);
  // Held while a helper runs: several layers of one image ask at once, and one answer serves all.
  auto state = state_.Lock();
  if (auto known = state->known.find(key); known != state->known.end()) return known->second;
  if (lookup_) {
    TRY_ASSIGN(auto found, lookup_(key == kHubKey ? "registry-1.docker.io" : key, stop));
    state->known[key] = found;
    return found;
  }
  if (!state->document) {
    std::string path = directory_ + "/config.json";
    auto text = ReadFile(path, 4 << 20);
    if (!text && text.error().code != Code::kNotFound) return std::move(text).error();
    auto document = Json::Parse(text ? *text : "{}");
    if (!document) return std::move(document).error().With(path);
    state->document = std::move(*document);
  }
  TRY_ASSIGN(std::optional<Credential> credential, LookUp(*state->document, key, stop));
  state->known[key] = credential;
  return credential;
}

Result<std::optional<BearerToken>> CredentialStore::FetchToken(const TokenRequest& request, std::stop_token stop) {
  if (!tokens_) return std::optional<BearerToken>();
  return tokens_(request, std::move(stop));
}

Result<std::optional<Credential>> CredentialStore::LookUp(const Json& document, const std::string& host,
                                                          std::stop_token stop) {
  const Json* own = FindHost(document, "credHelpers", host);
  std::string helper = own && own->is_string() ? own->as_string() : document.GetString("credsStore");
  std::optional<Error> failed;
  if (!helper.empty()) {
    std::string server = host == kHubKey ? "https://index.docker.io/v1/" : host;
    auto answer = AskCredentialHelper(helper, server, stop);
    if (answer && *answer) return answer;
    if (!answer) failed = std::move(answer).error();
  }
  if (const Json* entry = FindHost(document, "auths", host)) {
    TRY_ASSIGN(std::optional<Credential> credential, ParseEntry(*entry, host));
    if (credential) return credential;
  }
  if (failed) return std::move(*failed);
  return std::optional<Credential>();
}

}  // namespace varve::registry
