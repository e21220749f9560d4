// A context that the client reads from its standard input, and names by a URL: http://buildkit-session/<id>.
#pragma once

#include <stop_token>
#include <string>

#include "base/io.h"
#include "base/result.h"
#include "session/session.h"

namespace varve::session {

// Writes all of it to `out`; an error of `out` ends the call and is returned.
Status PullUpload(Session& session, const std::string& url, Writer& out, std::stop_token stop);

}  // namespace varve::session
