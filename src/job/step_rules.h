// Rules of a build that name steps: how old a cached one may be, which must be cached.
//
//   STEP := the name of a stage, or a pattern of the instruction's text
//
// A stage's name is compared without regard to case. A pattern matches anywhere in the text as the
// display shows it ("RUN apt-get update && apt-get install -y git"); `*` stands for any text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "graph/graph.h"

namespace varve::job {

// `pattern` empty: every step.
bool MatchesStep(const std::string& pattern, const graph::Step& step);

struct AgeRule {
  std::string step;  // empty: every step
  Nanos limit{0};
  std::string text;  // as explanations cite it: "--cache-max-age RUN apt*=7d"
};

// "7d", "12h", "1w", "1h30m", "0s": Go's durations, and days and weeks.
Result<Nanos> ParseAge(std::string_view text);
// "[STEP=]AGE".
Result<AgeRule> ParseAgeRule(const std::string& value);

// What a build configuration says of ages and of history. The first of these files that exists
// counts: $VARVE_BUILD_CONFIG, <root>/build.json, /etc/varve/build.json.
//
//   {"cache_max_age": {"RUN apt-get update": "7d", "*": "30d"},
//    "history": {"keep_builds": 2000, "keep_for": "90d", "keep_bytes": "256m"}}
struct BuildConfig {
  std::vector<AgeRule> max_age;
  int trace_shadow = 0;  // percent
  std::optional<int64_t> keep_builds;
  std::optional<Nanos> keep_for;
  std::optional<uint64_t> keep_bytes;
};
// "5%", "100%"; nothing for what is no such part.
std::optional<int> ParsePercent(std::string_view text);
// An unknown member is an error, as in registries.json.
Result<BuildConfig> ReadBuildConfig(const std::string& root);
Result<BuildConfig> ParseBuildConfig(const std::string& text, const std::string& file);

// By step: of the flags' rules that match, the last; else of the file's.
std::vector<std::optional<engine::AgeLimit>> AgeLimits(const graph::Graph& graph, const std::vector<AgeRule>& flags,
                                                       const std::vector<AgeRule>& file);

// By step: those that one of the patterns names. kInvalid for a pattern that names no step: a check
// that checks nothing passes for the wrong reason.
Result<std::vector<bool>> MustHit(const graph::Graph& graph, const std::vector<std::string>& patterns);

}  // namespace varve::job
