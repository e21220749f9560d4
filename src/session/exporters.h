// Outputs that the client names once the build has a result (SolveRequest.enable_session_exporter).
//
// A client that does not serve a call, or is going away, has nothing to say: no error.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "session/session.h"

namespace varve::session {

struct NamedExporter {
  std::string type;
  std::map<std::string, std::string> attributes;
};

// `metadata` of the result, and the references of its parts, which the client may look into meanwhile.
Result<std::vector<NamedExporter>> FindExporters(Session& session, const std::map<std::string, std::string>& metadata,
                                                 const std::vector<std::string>& refs, std::stop_token stop);

// All outputs are written; an error of the client's fails the build.
Status FinalizeExport(Session& session, const std::map<std::string, std::string>& answer, std::stop_token stop);

}  // namespace varve::session
