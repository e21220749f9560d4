#include "dockerfile/lint.h"

#include <fmt/core.h>

#include <utility>

#include "base/strings.h"
#include "dockerfile/hinted.h"
#include "dockerfile/runes.h"
#include "dockerfile/suggest.h"

namespace varve::dockerfile {
namespace {

constexpr std::string_view kUrl = "https://docs.docker.com/go/dockerfile/rule/";

// In the order of Rule.
constexpr RuleText kRules[] = {
    {"StageNameCasing", "Stage names should be lowercase", "stage-name-casing"},
    {"FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", "from-as-casing"},
    {"NoEmptyContinuation", "Empty continuation lines will become errors in a future release", "no-empty-continuation"},
    {"ConsistentInstructionCasing",
     "All commands within the Dockerfile should use the same casing (either upper or lower)",
     "consistent-instruction-casing"},
    {"DuplicateStageName", "Stage names should be unique", "duplicate-stage-name"},
    {"ReservedStageName", "Reserved words should not be used as stage names", "reserved-stage-name"},
    {"JSONArgsRecommended",
     "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS "
     "signals",
     "json-args-recommended"},
    {"MaintainerDeprecated", "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
     "maintainer-deprecated"},
    {"UndefinedArgInFrom", "FROM command must use declared ARGs", "undefined-arg-in-from"},
    {"WorkdirRelativePath",
     "Relative workdir without an absolute workdir declared within the build can have unexpected "
     "results if the base image changes",
     "workdir-relative-path"},
    {"UndefinedVar", "Variables should be defined before their use", "undefined-var"},
    {"MultipleInstructionsDisallowed", "Multiple instructions of the same type should not be used in the same stage",
     "multiple-instructions-disallowed"},
    {"LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used",
     "legacy-key-value-format"},
    {"InvalidBaseImagePlatform", "Base image platform does not match expected target platform", ""},
    {"RedundantTargetPlatform",
     "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default "
     "behavior",
     "redundant-target-platform"},
    {"SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands",
     "secrets-used-in-arg-or-env"},
    {"InvalidDefaultArgInFrom", "Default value for global ARG results in an empty or invalid base image name",
     "invalid-default-arg-in-from"},
    {"FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value",
     "from-platform-flag-const-disallowed"},
    {"CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore", "copy-ignored-file"},
    {"InvalidDefinitionDescription",
     "Comment for build stage or argument should follow the format: `# <arg/stage name> "
     "<description>`. If this is not intended to be a description comment, add an empty line or "
     "comment between the instruction and the comment.",
     "invalid-definition-description", true},
    {"ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", "expose-proto-casing"},
    {"ExposeInvalidFormat",
     "IP address and host-port mapping should not be used in EXPOSE instruction. This will become "
     "an error in a future release",
     "expose-invalid-format"},
};
static_assert(std::size(kRules) == static_cast<size_t>(Rule::kExposeInvalidFormat) + 1);

std::string Suggestion(std::string_view name, std::span<const std::string> candidates, std::string_view prefix) {
  std::vector<std::string_view> views(candidates.begin(), candidates.end());
  std::string best = Suggest(name, views, true);
  return best.empty() ? "" : fmt::format(" (did you mean {}{}?)", prefix, best);
}

// `skip=A,B`: the names, trimmed; "all" sets the flag instead.
void ReadRules(std::string_view value, bool& all, std::set<std::string>& names) {
  value = TrimUnicodeSpace(value);
  if (value == "all") {
    all = true;
    return;
  }
  names.clear();
  for (const std::string& name : Split(value, ',')) names.emplace(TrimUnicodeSpace(name));
}

}  // namespace

const RuleText& Describe(Rule rule) { return kRules[static_cast<size_t>(rule)]; }

std::string RuleUrl(Rule rule) {
  std::string_view slug = Describe(rule).slug;
  return slug.empty() ? "" : fmt::format("{}{}/", kUrl, slug);
}

std::string Warning::Short() const {
  std::string text = rule + ": " + message;
  if (span.start_line > 0) text += fmt::format(" (line {})", span.start_line);
  return text;
}

bool CheckOptions::Enabled(Rule rule) const {
  const RuleText& text = Describe(rule);
  std::string name(text.name);
  if (text.experimental) return experimental_all || experimental.contains(name);
  return !skip_all && !skip.contains(name);
}

void CheckOptions::Merge(const CheckOptions& own) {
  skip_all = skip_all || own.skip_all;
  skip.insert(own.skip.begin(), own.skip.end());
  experimental_all = experimental_all || own.experimental_all;
  experimental.insert(own.experimental.begin(), own.experimental.end());
}

Result<CheckOptions> ParseCheckOptions(std::string_view text) {
  CheckOptions options;
  text = TrimUnicodeSpace(text);
  if (text.empty()) return options;
  // Two separators at most: a third one is part of the last value.
  for (int part = 0; part < 3; ++part) {
    size_t end = part < 2 ? text.find(';') : std::string_view::npos;
    std::string_view option = text.substr(0, end);
    size_t equals = option.find('=');
    if (equals == std::string_view::npos) {
      return Invalid("invalid check option {}", Quote(option));
    }
    std::string_view key = TrimUnicodeSpace(option.substr(0, equals));
    std::string_view value = option.substr(equals + 1);
    if (key == "skip") {
      ReadRules(value, options.skip_all, options.skip);
    } else if (key == "experimental") {
      ReadRules(value, options.experimental_all, options.experimental);
    } else if (key == "error") {
      std::string_view flag = TrimUnicodeSpace(value);
      auto error = ParseBool(flag);
      if (!error) {
        return Invalid(
            "failed to parse check option {}: strconv.ParseBool: parsing {}: invalid "
            "syntax",
            Quote(option), Quote(flag));
      }
      options.error = *error;
    } else {
      return Invalid("invalid check option {}", Quote(key));
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return options;
}

Result<CheckOptions> FileCheckOptions(const Directives& directives, const std::optional<std::string>& override_value) {
  std::string text;
  if (override_value) {
    text = *override_value;
  } else if (directives.check) {
    text = directives.check->value.substr(0, directives.check->value.find(' '));
  }
  auto options = ParseCheckOptions(text);
  if (!options) return std::move(options).error().With("failed to parse check options");
  return options;
}

void Linter::Report(Rule rule, const Origin& origin, std::string message) {
  CheckOptions options = options_;
  if (origin.check) {
    // Options that cannot be read are no reason to fail: the reference goes on without them.
    if (auto own = ParseCheckOptions(*origin.check)) options.Merge(*own);
  }
  if (options.Enabled(rule)) Add(rule, origin.span, std::move(message));
}

void Linter::Report(Rule rule, const Span& span, std::string message) {
  if (options_.Enabled(rule)) Add(rule, span, std::move(message));
}

void Linter::Add(Rule rule, const Span& span, std::string message) {
  const RuleText& text = Describe(rule);
  warnings_.push_back({std::string(text.name), std::move(message), std::string(text.description), RuleUrl(rule), span});
}

Status Linter::Verdict() const {
  if (!options_.error || warnings_.empty()) return Ok();
  std::set<std::string> rules;
  for (const Warning& warning : warnings_) rules.insert(warning.rule);
  std::vector<std::string> names(rules.begin(), rules.end());
  return Hinted(Invalid("lint violation found for rules: {}", Join(names, ", ")),
                "the warnings above say where; check=error=true makes them fatal");
}

void Linter::UndefinedArgInFrom(const Origin& from, std::string_view name, std::span<const std::string> candidates) {
  Report(Rule::kUndefinedArgInFrom, from,
         fmt::format("FROM argument '{}' is not declared{}", name, Suggestion(name, candidates, "")));
}

void Linter::UndefinedVar(const Origin& origin, std::string_view name, std::span<const std::string> candidates) {
  Report(Rule::kUndefinedVar, origin,
         fmt::format("Usage of undefined variable '${}'{}", name, Suggestion(name, candidates, "$")));
}

void Linter::InvalidDefaultArgInFrom(const Stage& stage) {
  Report(Rule::kInvalidDefaultArgInFrom, stage.origin.span,
         fmt::format("Default value for ARG {} results in empty or invalid base image name", stage.base));
}

void Linter::RedundantTargetPlatform(const Stage& stage) {
  Report(Rule::kRedundantTargetPlatform, stage.origin,
         fmt::format("Setting platform to predefined {} in FROM is redundant as this is the default "
                     "behavior",
                     stage.platform));
}

void Linter::ConstantFromPlatform(const Stage& stage, std::string_view platform, std::string_view os,
                                  std::string_view architecture) {
  bool named = stage.name.find(os) != std::string::npos || stage.name.find(architecture) != std::string::npos;
  if (named) return;
  Report(Rule::kFromPlatformFlagConstDisallowed, stage.origin,
         fmt::format("FROM --platform flag should not use constant value {}", Quote(platform)));
}

void Linter::InvalidBaseImagePlatform(const Stage& stage, std::string_view image, std::string_view expected,
                                      std::string_view actual) {
  Report(Rule::kInvalidBaseImagePlatform, stage.origin.span,
         fmt::format("Base image {} was pulled with platform {}, expected {} for current build", image, Quote(actual),
                     Quote(expected)));
}

void Linter::CopyIgnoredFile(const Origin& origin, bool add, std::string_view path) {
  Report(Rule::kCopyIgnoredFile, origin,
         fmt::format("Attempting to {} file {} that is excluded by .dockerignore", add ? "Add" : "Copy", Quote(path)));
}

}  // namespace varve::dockerfile
