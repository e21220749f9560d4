// The rules over a project.
//
//   TRY_ASSIGN(Project project, OpenProject("."));
//   for (const Finding& finding : Diagnose(project, {})) …
//
// Pure but for the build contexts, whose names are listed. A rule prefers silence to a wrong
// finding: where a value comes from outside of the project, it says nothing.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/project.h"

namespace varve::doctor {

// What a RUN asked of the files that a COPY above it brought from the context, when it last ran.
struct CopyUse {
  size_t copied = 0;                   // files and links
  std::vector<std::string> looked_at;  // of them, with the root in front: "/app/package.json"
  std::vector<std::string> listed;     // directories with such files, whose names it asked for
};

struct DiagnoseOptions {
  std::set<std::string> skip;  // rules
  // Seconds that an instruction took here when it last ran, by its text ("RUN npm ci"); nothing: it
  // never did. Without it costs are typical ones.
  std::function<std::optional<double>(const std::string& instruction)> seconds;
  // The same of a COPY and a RUN below it in builds of the context `folder` (relative to the project) on this
  // machine; nothing: it was not traced, or what it looked at is not known any more.
  std::function<std::optional<CopyUse>(const std::string& folder, const std::string& copy, const std::string& run)>
      use_of_copy;
  bool measure_contexts = true;  // walk what is in a context for nothing, to say its size
};

// By file, then by line. `# varve:ignore RULE[,RULE]` on a finding's lines or right above them, and
// `# varve:ignore-file RULE` anywhere in the file, silence it; without a RULE, all.
std::vector<Finding> Diagnose(const Project& project, const DiagnoseOptions& options);

}  // namespace varve::doctor
