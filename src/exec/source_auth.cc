#include "exec/source_auth.h"

#include "base/strings.h"
#include "graph/source_url.h"
#include "net/url.h"

namespace varve::exec {

namespace {

// One line, as it goes into a header; empty: not given.
Result<std::string> ValueOf(const std::string& id, const Secrets& secrets) {
  TRY_ASSIGN(auto value, secrets.Get(id));
  std::string line(TrimSpace(value.value_or("")));
  for (char c : line) {
    if (static_cast<unsigned char>(c) >= ' ' && c != 0x7f) continue;
    Error error = Invalid("the secret \"{}\" holds a control character", id);
    error.hint = "credentials of remote sources are one line";
    return error;
  }
  return line;
}

}  // namespace

Result<source::GitAccess> FindGitAccess(const graph::GitSource& source, const Secrets& secrets) {
  source::GitAccess access;
  // A remote that is none is refused by whoever uses it.
  auto remote = graph::CheckGitRemote(source.remote);
  const std::string host = remote ? "." + remote->host : "";
  for (const std::string& suffix : {host, std::string()}) {
    if (!source.auth_header_secret.empty()) {
      TRY_ASSIGN(access.header, ValueOf(source.auth_header_secret + suffix, secrets));
    }
    if (access.header.empty() && !source.auth_token_secret.empty()) {
      TRY_ASSIGN(access.token, ValueOf(source.auth_token_secret + suffix, secrets));
    }
    if (!access.header.empty() || !access.token.empty()) break;
  }
  return access;
}

Result<std::string> FindHttpAuthorization(const graph::HttpSource& source, const Secrets& secrets) {
  if (!source.auth_header_secret.empty()) {
    TRY_ASSIGN(std::string header, ValueOf(source.auth_header_secret, secrets));
    if (!header.empty()) return header;
  }
  auto parsed = net::ParseUrl(source.url);
  if (!parsed) return std::string();
  TRY_ASSIGN(std::string token, ValueOf("HTTP_AUTH_TOKEN_" + parsed->host, secrets));
  if (!token.empty()) return "Bearer " + token;
  return ValueOf("HTTP_AUTH_HEADER_" + parsed->host, secrets);
}

}  // namespace varve::exec
