// The client of a build over its session.
#pragma once

#include <memory>

#include "daemon/client.h"
#include "session/contexts.h"
#include "session/session.h"
#include "session/sessions.h"

namespace varve::daemon {

// `sessions`: those of other clients, whose results this one's build goes on with. Both outlive the client.
std::shared_ptr<Client> MakeSessionClient(std::shared_ptr<session::Session> session, session::Sessions& sessions,
                                          session::Contexts& contexts);

}  // namespace varve::daemon
