#include "session/policy.h"

#include "api/policy_session.grpc.pb.h"
#include "session/rpc.h"

namespace varve::session {

Result<policysession::CheckPolicyResponse> CheckPolicy(Session& session,
                                                       const policysession::CheckPolicyRequest& request,
                                                       std::stop_token stop) {
  Call call(std::move(stop));
  policysession::CheckPolicyResponse response;
  const auto stub = policysession::PolicyVerifier::NewStub(session.channel());
  const grpc::Status status = stub->CheckPolicy(call.context(), request, &response);
  if (!status.ok()) return call.ToError(status, "source policy of the client");
  return response;
}

}  // namespace varve::session
