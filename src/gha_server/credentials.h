// Who may do what: the tokens that jobs bring, and the signed addresses that the service hands out.
//
// A token is a JWT (RFC 7519) as the runner gives it to a job: claim "ac" is a JSON text that holds
// [{"Scope":"refs/heads/main","Permission":3}, …], bit 1 to read and bit 2 to write; "exp" and "nbf"
// bound its life. This service's own tokens are signed with HS256 and its secret. Tokens that GitHub
// signed cannot be checked here: they are believed only where the operator says so.
//
// A signed address carries, as Azure's shared access signatures do, its permissions (sp), its end (se)
// and the HMAC of both with the path (sig).
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "gha_server/http_daemon.h"

namespace varve::gha_server {

struct Scope {
  std::string ref;  // "refs/heads/main", "refs/pull/7/merge"
  bool read = false, write = false;
  bool operator==(const Scope&) const = default;
};

// What a token allows: the job's own ref first, then those it falls back to.
struct Grant {
  std::vector<Scope> scopes;

  std::vector<std::string> Readable() const;  // in the order of look-ups
  const Scope* Writable() const;              // null: read-only
};

class Credentials {
 public:
  struct Options {
    std::string secret;               // signs tokens and addresses
    std::vector<std::string> tokens;  // further ones, as they are; see Check
    bool trust_any_token = false;     // signatures of JWTs are not checked
  };
  explicit Credentials(Options options, Clock& clock) : options_(std::move(options)), clock_(clock) {}

  // The grant of an Authorization header. kInvalid says why not: absent, unknown, expired. One of
  // `tokens` that is no JWT reads and writes refs/heads/main.
  Result<Grant> Check(std::string_view authorization) const;

  std::string IssueToken(const std::vector<Scope>& scopes, std::chrono::seconds life) const;

  // "?sv=…&sp=r&se=…&sig=…" for `path`. Permissions are letters: r read, c create, w write.
  std::string Sign(std::string_view path, std::string_view permissions, std::chrono::seconds life) const;
  // Whether a request's address is signed, not expired, and has one of `permissions`.
  bool IsSigned(const HttpRequest& request, std::string_view permissions) const;

 private:
  Result<Grant> GrantOf(std::string_view token, bool check_signature) const;
  std::string Signature(std::string_view path, std::string_view permissions, std::string_view end) const;

  const Options options_;
  Clock& clock_;
};

// "refs/heads/topic:rw,refs/heads/main:r" → scopes.
Result<std::vector<Scope>> ParseScopes(std::string_view text);

std::string HmacSha256(std::string_view key, std::string_view data);  // 32 bytes, RFC 2104

}  // namespace varve::gha_server
