// What `varve doctor` has to say: rules, and what they found.
//
// A finding is about lines of one file. It says why the cache does not work there, what that costs
// each time, and what to do instead; where the remedy needs no thinking it is a Fix.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/cache_rules.h"

namespace varve::doctor {

enum class Severity { kNote, kWarning, kError };
std::string_view SeverityName(Severity severity);  // "note", "warning", "error": SARIF's levels

struct RuleText {
  std::string_view name;  // "CacheWrittenNotRead"
  Severity severity;
  std::string_view description;  // one sentence: what should be
};

// All rules by name: those of doctor, of dockerfile/cache_rules.h, and the one of dockerfile/lint.h
// that is about caches (SecretsUsedInArgOrEnv: what an ARG holds lands in records and histories).
std::span<const RuleText> Rules();
const RuleText* FindRule(std::string_view name);

// Lines of one file that become other lines.
struct Edit {
  int first = 0, last = 0;         // 1-based, inclusive; last < first: before `first` something is put in
  std::vector<std::string> lines;  // empty: they go
};

// A change that can be made without knowing the project.
struct Fix {
  std::string file;  // as Finding::file; may be one that is not there yet
  std::vector<Edit> edits;
  // Whether the files or the configuration of the image can be others afterwards; its history may
  // differ either way. False is a promise.
  bool changes_image = false;
};

struct Finding {
  std::string rule;
  Severity severity = Severity::kWarning;
  std::string file;                    // relative to the project, '/' between parts
  dockerfile::Span span;               // whole lines; start_line 0: the file as a whole
  std::vector<dockerfile::Span> also;  // more lines of the same file
  std::string reason;                  // one or two sentences
  std::string remedy;                  // one sentence
  std::vector<std::string> text;       // lines to write, in the language of the file
  dockerfile::HintCost cost;           // each time that it bites
  std::optional<Fix> fix;
};

}  // namespace varve::doctor
