#include "job/step_rules.h"

#include <algorithm>
#include <cstdlib>

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"

namespace varve::job {

namespace {

// `*` in the pattern stands for any text; the pattern may begin and end anywhere.
bool Contains(std::string_view text, std::string_view pattern) {
  size_t at = 0;
  for (const std::string& part : Split(pattern, '*')) {
    at = text.find(part, at);
    if (at == text.npos) return false;
    at += part.size();
  }
  return true;
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

bool MatchesStep(const std::string& pattern, const graph::Step& step) {
  if (pattern.empty() || EqualsIgnoreCase(pattern, step.stage)) return true;
  return Contains(step.text.empty() ? step.name : step.text, pattern);
}

Result<Nanos> ParseAge(std::string_view text) {
  auto bad = [&] { return Invalid("invalid age \"{}\": a number and a unit expected, such as 12h, 7d or 1w", text); };
  // Days and weeks first, then what Go reads.
  int64_t hours = 0;
  std::string_view rest = text;
  for (auto [unit, each] : {std::pair{'w', int64_t{168}}, std::pair{'d', int64_t{24}}}) {
    size_t end = rest.find(unit);
    if (end == rest.npos) continue;
    auto number = ParseInt(rest.substr(0, end));
    if (!number || *number < 0 || *number > 100'000) return bad();
    hours += *number * each;
    rest.remove_prefix(end + 1);
  }
  if (rest.empty() && !text.empty()) return Nanos(std::chrono::hours(hours));
  auto more = ParseGoDuration(rest);
  if (!more || more->count() < 0) return bad();
  return *more + Nanos(std::chrono::hours(hours));
}

Result<AgeRule> ParseAgeRule(const std::string& value) {
  // The last "=": instructions hold some themselves.
  size_t eq = value.rfind('=');
  AgeRule rule{.text = "--cache-max-age " + value};
  if (eq != value.npos) rule.step = TrimSpace(value.substr(0, eq));
  if (eq != value.npos && rule.step.empty()) return Invalid("--cache-max-age \"{}\" names no step", value);
  auto age = ParseAge(eq == value.npos ? value : value.substr(eq + 1));
  if (!age) return std::move(age).error().With("--cache-max-age");
  rule.limit = *age;
  return rule;
}

std::optional<int> ParsePercent(std::string_view text) {
  if (!text.ends_with('%')) return std::nullopt;
  auto number = ParseInt(text.substr(0, text.size() - 1));
  if (!number || *number < 0 || *number > 100) return std::nullopt;
  return static_cast<int>(*number);
}

Result<BuildConfig> ParseBuildConfig(const std::string& text, const std::string& file) {
  auto json = Json::Parse(text);
  if (!json) return std::move(json).error().With(file);
  if (!json->is_object()) return Invalid("{}: an object expected", file);
  BuildConfig config;
  for (const auto& [name, value] : json->as_object()) {
    if (name == "cache_max_age" && value.is_object()) {
      for (const auto& [step, age] : value.as_object()) {
        if (!age.is_string()) return Invalid("{}: cache_max_age of \"{}\" is no text such as \"7d\"", file, step);
        auto limit = ParseAge(age.as_string());
        if (!limit) return std::move(limit).error().With(file);
        config.max_age.push_back(
            {step == "*" ? "" : step, *limit, fmt::format("cache_max_age {} of {}", age.as_string(), file)});
      }
    } else if (name == "trace_shadow") {
      auto percent = value.is_string() ? ParsePercent(value.as_string()) : std::nullopt;
      if (!percent) return Invalid("{}: trace_shadow is a part of the replayed steps, such as \"5%\"", file);
      config.trace_shadow = *percent;
    } else if (name == "history" && value.is_object()) {
      for (const auto& [limit, amount] : value.as_object()) {
        if (limit == "keep_builds" && amount.is_int() && amount.as_int() >= 0) {
          config.keep_builds = amount.as_int();
        } else if (limit == "keep_for" && amount.is_string()) {
          auto age = ParseAge(amount.as_string());
          if (!age) return std::move(age).error().With(file);
          config.keep_for = *age;
        } else if (limit == "keep_bytes" && amount.is_string()) {
          auto bytes = ParseRamBytes(amount.as_string());
          if (!bytes) return std::move(bytes).error().With(file);
          config.keep_bytes = *bytes;
        } else {
          return Invalid(
              "{}: history has keep_builds (a number), keep_for (\"90d\") and keep_bytes "
              "(\"256m\"), and no {} like this",
              file, limit);
        }
      }
    } else {
      return Invalid("{}: unknown member \"{}\": use cache_max_age and history, which are objects, and trace_shadow",
                     file, name);
    }
  }
  return config;
}

Result<BuildConfig> ReadBuildConfig(const std::string& root) {
  std::string named = Environment("VARVE_BUILD_CONFIG");
  for (const std::string& file : {named, root + "/build.json", std::string("/etc/varve/build.json")}) {
    if (file.empty()) continue;
    auto text = ReadFile(file, 1 << 20);
    if (text) return ParseBuildConfig(*text, file);
    // A file that the user names must be there.
    if (text.error().code != Code::kNotFound || file == named) {
      return std::move(text).error().With("build configuration " + file);
    }
  }
  return BuildConfig();
}

std::vector<std::optional<engine::AgeLimit>> AgeLimits(const graph::Graph& graph, const std::vector<AgeRule>& flags,
                                                       const std::vector<AgeRule>& file) {
  std::vector<std::optional<engine::AgeLimit>> limits;
  if (flags.empty() && file.empty()) return limits;
  auto last = [](const std::vector<AgeRule>& rules, const graph::Step& step) {
    auto it =
        std::find_if(rules.rbegin(), rules.rend(), [&](const AgeRule& rule) { return MatchesStep(rule.step, step); });
    return it == rules.rend() ? nullptr : &*it;
  };
  for (const graph::Step& step : graph.steps) {
    limits.emplace_back();
    if (graph::IsSource(step.op)) continue;
    const AgeRule* rule = last(flags, step);
    if (rule == nullptr) rule = last(file, step);
    if (rule != nullptr) limits.back() = engine::AgeLimit{rule->limit, rule->text};
  }
  return limits;
}

Result<std::vector<bool>> MustHit(const graph::Graph& graph, const std::vector<std::string>& patterns) {
  if (patterns.empty()) return std::vector<bool>();
  std::vector<bool> must_hit(graph.steps.size(), false);
  for (const std::string& pattern : patterns) {
    bool found = false;
    for (size_t i = 0; i < graph.steps.size(); ++i) {
      const graph::Step& step = graph.steps[i];
      if (graph::IsSource(step.op) || !MatchesStep(pattern, step)) continue;
      found = true;
      must_hit[i] = true;
    }
    if (!found && !pattern.empty()) {
      Error error = Invalid("--fail-on-cache-miss={}: no step of this build is named so", pattern);
      error.hint = "name a stage, or a part of an instruction: varve plan lists the steps";
      return error;
    }
  }
  return must_hit;
}

}  // namespace varve::job
