#include "session/auth.h"

#include <sys/random.h>

#include <chrono>

#include "api/auth.grpc.pb.h"
#include "session/rpc.h"

namespace varve::session {
namespace {

namespace api = moby::filesync::v1;

constexpr char kCredentials[] = "/moby.filesync.v1.Auth/Credentials";
constexpr char kFetchToken[] = "/moby.filesync.v1.Auth/FetchToken";
constexpr char kAuthority[] = "/moby.filesync.v1.Auth/GetTokenAuthority";
constexpr auto kTimeout = std::chrono::seconds(60);
constexpr char kClientId[] = "buildkit-client";

// What the keys that clients show us are made of: one for each process, so that no two daemons see the same.
const std::string& Salt() {
  static const std::string salt = [] {
    std::string bytes(32, '\0');
    CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    return bytes;
  }();
  return salt;
}

// Whether the client wants to fetch tokens for this host; its user may have said no (BUILDKIT_NO_CLIENT_TOKEN).
Result<bool> FetchesTokens(Session& session, api::Auth::Stub& stub, const std::string& host, std::stop_token stop) {
  if (!session.Supports(kAuthority) || !session.Supports(kFetchToken)) return false;
  Call call(std::move(stop), kTimeout);
  api::GetTokenAuthorityRequest request;
  request.set_host(host);
  request.set_salt(Salt());
  api::GetTokenAuthorityResponse response;
  const grpc::Status status = stub.GetTokenAuthority(call.context(), request, &response);
  if (status.ok()) return !response.public_key().empty();
  if (session.ended().stop_requested()) return call.ToError(status, "login to " + host);
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return false;
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) return false;
  return call.ToError(status, "login to " + host);
}

}  // namespace

Result<std::optional<Login>> GetLogin(Session& session, const std::string& host, std::stop_token stop) {
  if (!session.Supports(kCredentials)) return std::optional<Login>();
  Call call(std::move(stop), kTimeout);
  api::CredentialsRequest request;
  request.set_host(host);
  api::CredentialsResponse response;
  const grpc::Status status = api::Auth::NewStub(session.channel())->Credentials(call.context(), request, &response);
  if (!status.ok()) return call.ToError(status, "credentials for " + host);
  if (response.secret().empty()) return std::optional<Login>();
  return std::optional(Login{response.username(), response.secret()});
}

Result<std::optional<ClientToken>> FetchToken(Session& session, const TokenQuestion& question, Clock& clock,
                                              std::stop_token stop) {
  const auto stub = api::Auth::NewStub(session.channel());
  TRY_ASSIGN(const bool fetches, FetchesTokens(session, *stub, question.host, stop));
  if (!fetches) return std::optional<ClientToken>();
  Call call(std::move(stop), kTimeout);
  api::FetchTokenRequest request;
  request.set_client_id(kClientId);
  request.set_host(question.host);
  request.set_realm(question.realm);
  request.set_service(question.service);
  for (const std::string& scope : question.scopes) request.add_scopes(scope);
  api::FetchTokenResponse response;
  const grpc::Status status = stub->FetchToken(call.context(), request, &response);
  if (!status.ok()) return call.ToError(status, "a token for " + question.host);
  if (response.token().empty()) return Invalid("the client has no token for {}", question.host);
  ClientToken token{response.token(), response.expires_in() > 0 ? response.expires_in() : 60};
  if (response.issued_at() > 0) token.seconds -= clock.Now().seconds() - response.issued_at();
  return std::optional(std::move(token));
}

}  // namespace varve::session
