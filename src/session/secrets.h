// Secrets that the client holds.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "session/session.h"

namespace varve::session {

// Nothing when the client has no such secret, or none at all. kInvalid beyond 500 KiB. The value is for the step that
// needs it: not for a log, a key or a record.
Result<std::optional<std::string>> GetSecret(Session& session, const std::string& id, std::stop_token stop);

}  // namespace varve::session
