// Conditional writes of HTTP: "If-None-Match: *" and "If-Match: ETAG" (RFC 9110 §13.1).
#pragma once

#include "objects/transport.h"

namespace varve::objects {

std::pair<std::string, std::string> ConditionHeader(const Condition& condition);

// Whether the server honours them, found out with writes of an empty object, `call`: at most two
// with If-None-Match, the last of which must be refused.
Result<bool> ProbeConditions(Transport& transport, Endpoint& endpoint, Call call, std::stop_token stop);

}  // namespace varve::objects
