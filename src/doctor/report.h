// Findings as people and programs read them.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "doctor/finding.h"
#include "doctor/project.h"

namespace varve::doctor {

struct Tally {
  int errors = 0, warnings = 0, notes = 0;
  int fixable = 0;   // by rote, and the image stays the same
  int changing = 0;  // by rote, and the image changes
};
Tally Count(const std::vector<Finding>& findings);

struct TextStyle {
  bool color = false;  // ANSI escapes
  size_t width = 100;  // columns
};

// By file: the lines, the reason, what to do, what it costs. Ends with one line of numbers.
std::string ToText(const Project& project, const std::vector<Finding>& findings, const TextStyle& style);

// {"version": 1, "files": […], "findings": […], "summary": {…}}; doc/doctor.md has the members.
Json ToJson(const Project& project, const std::vector<Finding>& findings);

// SARIF 2.1.0 (OASIS Standard, docs.oasis-open.org/sarif/sarif/v2.1.0), as code scanning reads it.
Json ToSarif(const std::vector<Finding>& findings, const std::string& tool_version);

// The rules as a table, by name.
std::string RulesText();

}  // namespace varve::doctor
