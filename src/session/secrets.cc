#include "session/secrets.h"

#include <chrono>

#include "api/secrets.grpc.pb.h"
#include "session/rpc.h"

namespace varve::session {
namespace {

constexpr char kMethod[] = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
constexpr auto kTimeout = std::chrono::seconds(60);
constexpr size_t kMaxSecret = 500 << 10;

}  // namespace

Result<std::optional<std::string>> GetSecret(Session& session, const std::string& id, std::stop_token stop) {
  if (!session.Supports(kMethod)) return std::optional<std::string>();
  Call call(std::move(stop), kTimeout);
  moby::buildkit::secrets::v1::GetSecretRequest request;
  moby::buildkit::secrets::v1::GetSecretResponse response;
  request.set_id(id);
  const auto stub = moby::buildkit::secrets::v1::Secrets::NewStub(session.channel());
  const grpc::Status status = stub->GetSecret(call.context(), request, &response);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) return std::optional<std::string>();
  if (!status.ok()) return call.ToError(status, fmt::format("secret \"{}\"", id));
  if (response.data().size() > kMaxSecret) return Invalid("secret \"{}\" is larger than 500 KiB", id);
  return std::optional(std::move(*response.mutable_data()));
}

}  // namespace varve::session
