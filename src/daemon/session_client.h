// The client of a build over its session.
#pragma once

#include <memory>

#include "daemon/client.h"
#include "session/contexts.h"
#include "session/session.h"

namespace varve::daemon {

// `contexts` outlives the client.
std::shared_ptr<Client> MakeSessionClient(std::shared_ptr<session::Session> session,
                                          session::Contexts& contexts);

}  // namespace varve::daemon
