// The answer to `--check` and `--call check` (reference cli.md §4, frontend.lint), as the JSON and
// text that clients of the reference know. varve's own hints about caching (cache_rules.h) are
// beside it: a member "hints" of the JSON and a part of its own in the text, so that who reads
// warnings sees what BuildKit would have said.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "dockerfile/lint.h"

namespace varve::dockerfile {

struct CheckReport {
  std::string file_name;  // as messages name it
  std::string source;
  std::vector<Warning> warnings;     // in the order in which they were found
  std::optional<SourceError> error;  // why lowering ended

  // result.statuscode.
  int StatusCode() const { return warnings.empty() && !error ? 0 : 1; }
};

// {"ranges":[{"start":{"line":3},"end":{"line":4}}]}. A column of 0 is left out and stands for the
// whole line; a span without lines gives an object without ranges.
Json LocationJson(const Span& span);

Json ToJson(const CheckReport& report);

// Head line and warnings, by line. Without the error, which belongs on another stream: ErrorText.
std::string ToText(const CheckReport& report);

// Only the warnings: result.txt of the protocol.
std::string WarningsText(const CheckReport& report);

}  // namespace varve::dockerfile
