// The answer to `--check` and `--call check` (reference cli.md §4, frontend.lint), as the JSON and
// text that clients of the reference know. varve's own hints about caching (cache_rules.h) are
// beside it: a member "hints" of the JSON and a part of its own in the text, so that who reads
// warnings sees what BuildKit would have said.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "dockerfile/cache_rules.h"
#include "dockerfile/lint.h"

namespace varve::dockerfile {

struct CheckReport {
  std::string file_name;  // as messages name it
  std::string source;
  std::vector<Warning> warnings;  // in the order in which they were found
  std::vector<CacheHint> hints;
  bool hints_are_errors = false;     // --call check,hints=error: then they count for the status
  std::optional<SourceError> error;  // why lowering ended

  // result.statuscode.
  int StatusCode() const { return warnings.empty() && !error && (hints.empty() || !hints_are_errors) ? 0 : 1; }
};

// {"ranges":[{"start":{"line":3},"end":{"line":4}}]}. A column of 0 is left out and stands for the
// whole line; a span without lines gives an object without ranges.
Json LocationJson(const Span& span);

Json ToJson(const CheckReport& report);

// Head line, warnings by line, hints. Without the error, which belongs on another stream.
std::string ToText(const CheckReport& report);

// Only the warnings: result.txt of the protocol.
std::string WarningsText(const CheckReport& report);

// The part about caching; empty without hints.
std::string HintsText(const CheckReport& report);

// "3 hints about caching: varve build --check", for the end of a build; empty when none of them
// costs so much that it is worth a line in every build.
std::string HintsSummary(const std::vector<CacheHint>& hints);

}  // namespace varve::dockerfile
