#include "gha_server/credentials.h"

#include <algorithm>

#include "base/digest.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/strings.h"
#include "net/url.h"

namespace varve::gha_server {

namespace {

constexpr std::string_view kStorageVersion = "2024-11-04";  // of Azure's protocol, as GitHub's addresses say

std::string Base64Url(std::string_view bytes) {
  std::string text = Base64Encode(bytes);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  text.erase(text.find_last_not_of('=') + 1);
  return text;
}

Result<std::string> FromBase64Url(std::string_view text) {
  std::string padded(text), out;
  padded.append((4 - padded.size() % 4) % 4, '=');
  if (!Base64Decode(padded, &out)) return Invalid("the token is not a JWT");
  return out;
}

// Takes the same time wherever the difference is.
bool SameBytes(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace

std::string HmacSha256(std::string_view key, std::string_view data) {
  std::string block(key.size() > 64 ? Digest::Of(key).raw() : key);
  block.resize(64);
  std::string inner = block, outer = block;
  for (char& c : inner) c ^= 0x36;
  for (char& c : outer) c ^= 0x5c;
  return std::string(Digest::Of(outer.append(Digest::Of(inner.append(data)).raw())).raw());
}

std::vector<std::string> Grant::Readable() const {
  std::vector<std::string> refs;
  const Scope* own = Writable();
  if (own != nullptr && own->read) refs.push_back(own->ref);
  for (const Scope& scope : scopes) {
    if (scope.read && std::ranges::find(refs, scope.ref) == refs.end()) refs.push_back(scope.ref);
  }
  return refs;
}

const Scope* Grant::Writable() const {
  auto it = std::find_if(scopes.rbegin(), scopes.rend(), [](const Scope& scope) { return scope.write; });
  return it == scopes.rend() ? nullptr : &*it;
}

Result<Grant> Credentials::Check(std::string_view authorization) const {
  constexpr std::string_view kBearer = "bearer ";
  if (!ToLower(authorization.substr(0, kBearer.size())).starts_with(kBearer)) {
    return Invalid("no token: the request needs Authorization: Bearer");
  }
  std::string_view token = TrimSpace(authorization.substr(kBearer.size()));
  for (const std::string& known : options_.tokens) {
    if (!SameBytes(token, known)) continue;
    if (std::ranges::count(token, '.') == 2) return GrantOf(token, false);
    return Grant{{{.ref = "refs/heads/main", .read = true, .write = true}}};
  }
  return GrantOf(token, !options_.trust_any_token);
}

Result<Grant> Credentials::GrantOf(std::string_view token, bool check_signature) const {
  std::vector<std::string> parts = Split(token, '.');
  if (parts.size() != 3) return Invalid("the token is not known here");
  if (check_signature) {
    TRY_ASSIGN(std::string header, FromBase64Url(parts[0]));
    auto algorithm = Json::Parse(header);
    if (!algorithm || algorithm->GetString("alg") != "HS256" ||
        !SameBytes(parts[2], Base64Url(HmacSha256(options_.secret, parts[0] + "." + parts[1])))) {
      return Invalid("the token was not issued by this service");
    }
  }
  TRY_ASSIGN(std::string payload, FromBase64Url(parts[1]));
  auto claims = Json::Parse(payload);
  if (!claims || !claims->is_object()) return Invalid("the token is not a JWT");
  int64_t now = clock_.Now().seconds();
  if (claims->GetInt("exp") <= now) return Invalid("the token is expired");
  if (claims->GetInt("nbf") > now) return Invalid("the token is not valid yet");
  auto allowed = Json::Parse(claims->GetString("ac", "[]"));
  if (!allowed || !allowed->is_array()) return Invalid("the token's claim 'ac' is not a list");
  Grant grant;
  for (const Json& scope : allowed->as_array()) {
    int64_t permission = scope.GetInt("Permission");
    grant.scopes.push_back(
        {.ref = scope.GetString("Scope"), .read = (permission & 1) != 0, .write = (permission & 2) != 0});
  }
  return grant;
}

std::string Credentials::IssueToken(const std::vector<Scope>& scopes, std::chrono::seconds life) const {
  Json allowed = Json::EmptyArray();
  for (const Scope& scope : scopes) {
    Json entry;
    entry.Set("Scope", scope.ref);
    entry.Set("Permission", (scope.read ? 1 : 0) | (scope.write ? 2 : 0));
    allowed.Append(std::move(entry));
  }
  int64_t now = clock_.Now().seconds();
  Json claims;
  claims.Set("ac", allowed.Dump()).Set("nbf", now - 60).Set("exp", now + life.count());
  claims.Set("iss", "varve cache-server");
  std::string text = Base64Url(R"({"alg":"HS256","typ":"JWT"})") + "." + Base64Url(claims.Dump());
  return text + "." + Base64Url(HmacSha256(options_.secret, text));
}

std::string Credentials::Signature(std::string_view path, std::string_view permissions, std::string_view end) const {
  return Base64Encode(
      HmacSha256(options_.secret, fmt::format("{}\n{}\n{}\n{}", permissions, end, path, kStorageVersion)));
}

std::string Credentials::Sign(std::string_view path, std::string_view permissions, std::chrono::seconds life) const {
  std::string end = FormatTime({(clock_.Now().seconds() + life.count()) * 1'000'000'000});
  return fmt::format("?se={}&sig={}&sp={}&spr=https%2Chttp&sr=b&sv={}", net::PercentEncode(end),
                     net::PercentEncode(Signature(path, permissions, end)), permissions, kStorageVersion);
}

bool Credentials::IsSigned(const HttpRequest& request, std::string_view permissions) const {
  std::string end = request.Query("se"), granted = request.Query("sp");
  if (granted.find_first_of(permissions) == granted.npos) return false;
  if (!SameBytes(request.Query("sig"), Signature(request.path, granted, end))) return false;
  auto expiry = ParseTime(end);
  return expiry && clock_.Now() < *expiry;
}

Result<std::vector<Scope>> ParseScopes(std::string_view text) {
  std::vector<Scope> scopes;
  for (const std::string& part : Split(text, ',')) {
    size_t colon = part.rfind(':');
    std::string_view rights = colon == part.npos ? "" : std::string_view(part).substr(colon + 1);
    if (colon == 0 || rights.empty() || rights.find_first_not_of("rw") != rights.npos) {
      Error error = Invalid("'{}' is not a scope", part);
      error.hint = "write REF:rw or REF:r, several with commas: refs/heads/topic:rw,refs/heads/main:r";
      return error;
    }
    scopes.push_back({.ref = part.substr(0, colon),
                      .read = rights.find('r') != rights.npos,
                      .write = rights.find('w') != rights.npos});
  }
  return scopes;
}

}  // namespace varve::gha_server
