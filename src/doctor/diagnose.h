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

struct DiagnoseOptions {
  std::set<std::string> skip;  // rules
  // Seconds that an instruction took here when it last ran, by its text ("RUN npm ci"); nothing: it
  // never did. Without it costs are typical ones.
  std::function<std::optional<double>(const std::string& instruction)> seconds;
  bool measure_contexts = true;  // walk what is in a context for nothing, to say its size
};

// By file, then by line. `# varve:ignore RULE[,RULE]` on a finding's lines or right above them, and
// `# varve:ignore-file RULE` anywhere in the file, silence it; without a RULE, all.
std::vector<Finding> Diagnose(const Project& project, const DiagnoseOptions& options);

}  // namespace varve::doctor
