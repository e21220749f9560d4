// Several builds as one graph, from flags to exit code: what `compose build` and `bake` do once they know
// what to build.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/joined_job.h"
#include "job/build_reports.h"

namespace varve::cli {

struct JoinedRequest {
  Wording wording;
  std::string command;                 // for history: "compose build"
  std::string project;                 // what tells its builds from others': a directory
  std::string name, definition;        // for history: the project's name, the file
  std::vector<JoinedJob::Part> parts;  // name, image, flags, links; in the order of their links
  std::vector<std::string> warnings;
  job::BuildFlags shown;      // progress, quiet
  std::string metadata_file;  // metadata by part
  job::ReportFlags reports;
};

// Opens a workspace, builds, exports, and says what came of it. Returns the exit code.
int BuildJoined(JoinedRequest request, const job::GlobalFlags& global);

}  // namespace varve::cli
