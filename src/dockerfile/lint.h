// Checks: the 22 rules of `varve check` and of every build.
//
// Who reports what:
//   CheckFile()   rules that the text alone decides (casing, names, deprecated forms)
//   StageChecks   rules that need the words of a stage after expansion and what its base stage did;
//                 lowering feeds it, instruction by instruction, in the order it dispatches them
//   Linter::Undefined… and the other named functions: rules that need ARG values, image platforms
//                 or ignore patterns; lowering calls them where it knows
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace varve::dockerfile {

enum class Rule {
  kStageNameCasing,
  kFromAsCasing,
  kNoEmptyContinuation,
  kConsistentInstructionCasing,
  kDuplicateStageName,
  kReservedStageName,
  kJsonArgsRecommended,
  kMaintainerDeprecated,
  kUndefinedArgInFrom,
  kWorkdirRelativePath,
  kUndefinedVar,
  kMultipleInstructionsDisallowed,
  kLegacyKeyValueFormat,
  kInvalidBaseImagePlatform,
  kRedundantTargetPlatform,
  kSecretsUsedInArgOrEnv,
  kInvalidDefaultArgInFrom,
  kFromPlatformFlagConstDisallowed,
  kCopyIgnoredFile,
  kInvalidDefinitionDescription,
  kExposeProtoCasing,
  kExposeInvalidFormat,
};

struct RuleText {
  std::string_view name;  // "StageNameCasing"
  std::string_view description;
  std::string_view slug;  // "stage-name-casing": tail of the URL; empty: the rule has none
  bool experimental = false;
};
const RuleText& Describe(Rule rule);
std::string RuleUrl(Rule rule);

struct Warning {
  std::string rule;
  std::string message;
  std::string detail;  // the rule's description
  std::string url;     // may be empty
  Span span;

  std::string Short() const;  // "Rule: message (line N)"
};

// `skip=A,B|all;error=bool;experimental=A,B|all`.
struct CheckOptions {
  bool skip_all = false;
  std::set<std::string> skip;
  bool experimental_all = false;
  std::set<std::string> experimental;
  bool error = false;

  bool Enabled(Rule rule) const;
  void Merge(const CheckOptions& own);  // an instruction's own; `error` stays
};
Result<CheckOptions> ParseCheckOptions(std::string_view text);

// The options of a file: `override_value` (build arg BUILDKIT_DOCKERFILE_CHECK) if given, else its
// check directive.
Result<CheckOptions> FileCheckOptions(const Directives& directives, const std::optional<std::string>& override_value);

// Collects warnings. One thread.
class Linter {
 public:
  explicit Linter(CheckOptions options) : options_(std::move(options)) {}

  // `origin`: the instruction that speaks; its own `# check=` is honoured, its span is the place.
  void Report(Rule rule, const Origin& origin, std::string message);
  void Report(Rule rule, const Span& span, std::string message);

  // For lowering. `candidates` are the names that could have been meant.
  void UndefinedArgInFrom(const Origin& from, std::string_view name, std::span<const std::string> candidates);
  void UndefinedVar(const Origin& origin, std::string_view name, std::span<const std::string> candidates);
  void InvalidDefaultArgInFrom(const Stage& stage);  // base invalid without build args
  void RedundantTargetPlatform(const Stage& stage);  // --platform=$TARGETPLATFORM
  // The expanded --platform; `constant`: no variable in it; os and arch as parsed.
  void ConstantFromPlatform(const Stage& stage, std::string_view platform, std::string_view os,
                            std::string_view architecture);
  void InvalidBaseImagePlatform(const Stage& stage, std::string_view image, std::string_view expected,
                                std::string_view actual);
  void CopyIgnoredFile(const Origin& origin, bool add, std::string_view path);

  const std::vector<Warning>& warnings() const { return warnings_; }
  const CheckOptions& options() const { return options_; }

  // kInvalid `lint violation found for rules: …` when error=true and there is a warning.
  Status Verdict() const;

 private:
  void Add(Rule rule, const Span& span, std::string message);

  CheckOptions options_;
  std::vector<Warning> warnings_;
};

// Rules 1-6, 8 and 20, in the order the reference reports them.
void CheckFile(const Dockerfile& file, Linter& linter);

// One per stage. Copy the base stage's object for a stage that is built FROM another one: whether a
// WORKDIR is set is inherited, as is SHELL; CMD, ENTRYPOINT and HEALTHCHECK count per stage.
class StageChecks {
 public:
  explicit StageChecks(Linter& linter) : linter_(&linter) {}
  static StageChecks From(const StageChecks& base);

  void SetShell() { has_shell_ = true; }  // also when the base image's config has one
  // All words expanded.
  void OnEnv(const Origin& origin, const Env& env);
  void OnLabel(const Origin& origin, const Label& label);
  void OnArg(const Origin& origin, const Arg& arg);
  void OnWorkdir(const Origin& origin, std::string_view path, bool windows);
  void OnCmd(const Origin& origin, const Cmd& cmd);
  void OnEntrypoint(const Origin& origin, const Entrypoint& entrypoint);
  void OnHealthcheck(const Origin& origin);
  // One valid word, and what lowering found in it.
  void OnExpose(const Origin& origin, std::string_view word, bool upper_case_protocol, bool has_host_part);

 private:
  void Once(const Origin& origin, std::optional<Origin>& previous);

  Linter* linter_;
  bool has_shell_ = false;
  bool workdir_set_ = false;
  std::optional<Origin> cmd_, entrypoint_, healthcheck_;
};

}  // namespace varve::dockerfile
