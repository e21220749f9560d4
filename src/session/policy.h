// A client that decides about each source of its build.
#pragma once

#include <stop_token>

#include "api/policy_session.pb.h"
#include "base/result.h"
#include "session/session.h"

namespace varve::session {

namespace policysession = moby::buildkit::v1::sourcepolicy::policysession;

// A decision, or what the client has to know first. Waits as long as the client thinks.
Result<policysession::CheckPolicyResponse> CheckPolicy(Session& session,
                                                       const policysession::CheckPolicyRequest& request,
                                                       std::stop_token stop);

}  // namespace varve::session
