#include <gtest/gtest.h>

#include "dockerfile/lint.h"
#include "dockerfile/parse_warnings.h"
#include "dockerfile/parser.h"

namespace varve::dockerfile {
namespace {

using Strings = std::vector<std::string>;

Dockerfile Parse(std::string_view text) {
  auto file = ParseDockerfile(text);
  EXPECT_TRUE(file) << (file ? "" : file.error().error.ToString());
  return file.value_or(Dockerfile{});
}

Linter LinterOf(const Dockerfile& file) {
  auto options = FileCheckOptions(file.directives, std::nullopt);
  EXPECT_TRUE(options) << (options ? "" : options.error().message);
  return Linter(options.value_or(CheckOptions{}));
}

Strings Short(const Linter& linter) {
  Strings out;
  for (const Warning& warning : linter.warnings()) out.push_back(warning.Short());
  return out;
}

Strings FileWarnings(std::string_view text) {
  Dockerfile file = Parse(text);
  Linter linter = LinterOf(file);
  CheckFile(file, linter);
  return Short(linter);
}

// Walks the only stage; words are taken as they are.
Strings StageWarnings(const std::string& instructions, bool shell_in_base = false) {
  Dockerfile file = Parse("FROM a\n" + instructions);
  Linter linter = LinterOf(file);
  StageChecks checks(linter);
  if (shell_in_base) checks.SetShell();
  for (const Instruction& instruction : file.stages.at(0).instructions) {
    const Origin& origin = instruction.origin;
    if (auto* env = std::get_if<Env>(&instruction.body)) checks.OnEnv(origin, *env);
    if (auto* label = std::get_if<Label>(&instruction.body)) checks.OnLabel(origin, *label);
    if (auto* arg = std::get_if<Arg>(&instruction.body)) checks.OnArg(origin, *arg);
    if (auto* workdir = std::get_if<Workdir>(&instruction.body)) {
      checks.OnWorkdir(origin, workdir->path, false);
    }
    if (auto* cmd = std::get_if<Cmd>(&instruction.body)) checks.OnCmd(origin, *cmd);
    if (auto* entrypoint = std::get_if<Entrypoint>(&instruction.body)) {
      checks.OnEntrypoint(origin, *entrypoint);
    }
    if (std::holds_alternative<Healthcheck>(instruction.body)) checks.OnHealthcheck(origin);
    if (std::holds_alternative<Shell>(instruction.body)) checks.SetShell();
  }
  return Short(linter);
}

TEST(Check, StageNamesAndKeywords) {
  EXPECT_EQ(FileWarnings("FROM a as Build\nFROM b AS build\nFROM c AS scratch\n"),
            (Strings{"StageNameCasing: Stage name 'Build' should be lowercase (line 1)",
                     "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)",
                     "DuplicateStageName: Duplicate stage name \"build\", stage names should be "
                     "unique (line 2)",
                     "ReservedStageName: Stage name should not use the same name as reserved stage "
                     "\"scratch\" (line 3)"}));
}

TEST(Check, AFileThatBreaksOffHasTheWarningsAboveTheError) {
  const std::string text = "FROM a AS Build\nMAINTAINER m\nBADCMD\nFROM b AS Other\n";
  auto parsed = ParseDockerfile(text);
  ASSERT_FALSE(parsed);
  std::vector<std::string> rules;
  for (const Warning& warning : WarningsAbove(text, parsed.error().span.start_line, {})) {
    rules.push_back(warning.rule);
  }
  EXPECT_EQ(rules, (Strings{"StageNameCasing", "MaintainerDeprecated"}));
  EXPECT_TRUE(WarningsAbove(text, 3, "skip=all").empty());
  EXPECT_TRUE(WarningsAbove("BADCMD\n", 1, {}).empty());
}

TEST(Check, MinorityCasingIsReportedAndATieIsUpper) {
  EXPECT_EQ(FileWarnings("from a\nrun b\nRUN c\n"),
            Strings{"ConsistentInstructionCasing: Command 'RUN' should match the case of the command "
                    "majority (lowercase) (line 3)"});
  EXPECT_EQ(FileWarnings("FROM a\nrun b\n"),
            Strings{"ConsistentInstructionCasing: Command 'run' should match the case of the command "
                    "majority (uppercase) (line 2)"});
  EXPECT_EQ(FileWarnings("FROM a\nRun b\n"),
            Strings{"ConsistentInstructionCasing: Command 'Run' should match the case of the command "
                    "majority (uppercase) (line 2)"});
}

TEST(Check, EmptyContinuationsAndMaintainers) {
  EXPECT_EQ(FileWarnings("FROM a\nRUN x \\\n\n y\nMAINTAINER m\n"),
            (Strings{"NoEmptyContinuation: Empty continuation line (line 4)",
                     "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using "
                     "label (line 5)"}));
}

TEST(Check, DescriptionsAreCheckedOnlyWhenAskedFor) {
  std::string body = "# x is\nARG y\n# wrong\nARG a b\n# st it is\nFROM a AS st\n";
  EXPECT_EQ(FileWarnings(body), Strings{});
  Strings want{
      "InvalidDefinitionDescription: Comment for ARG should follow the format: `# y "
      "<description>` (line 3)",
      "InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> "
      "<description>` (line 5)"};
  EXPECT_EQ(FileWarnings("# check=experimental=InvalidDefinitionDescription\n" + body), want);
  EXPECT_EQ(FileWarnings("# check=skip=all;experimental=all\n" + body), want)
      << "skip does not act on experimental rules";
}

TEST(Check, ShellFormsAreFineOnceAShellIsSet) {
  EXPECT_EQ(StageWarnings("CMD a\nENTRYPOINT [\"b\"]\n"),
            Strings{"JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended "
                    "behavior related to OS signals (line 2)"});
  EXPECT_EQ(StageWarnings("SHELL [\"s\"]\nCMD a\nENTRYPOINT b\n"), Strings{});
  EXPECT_EQ(StageWarnings("CMD a\n", true), Strings{});
}

TEST(Check, OnlyTheFirstWorkdirCountsAndStagesInheritIt) {
  EXPECT_EQ(StageWarnings("WORKDIR a\nWORKDIR b\n"),
            Strings{"WorkdirRelativePath: Relative workdir \"a\" can have unexpected results if the "
                    "base image changes (line 2)"});
  EXPECT_EQ(StageWarnings("WORKDIR /a\nWORKDIR b\n"), Strings{});
  Dockerfile file = Parse("FROM a\nWORKDIR x\n");
  const Origin& origin = file.stages[0].instructions[0].origin;
  Linter linter(CheckOptions{});
  StageChecks base(linter);
  base.OnWorkdir(origin, "/x", false);
  StageChecks child = StageChecks::From(base);
  child.OnWorkdir(origin, "y", false);
  StageChecks windows(linter);
  windows.OnWorkdir(origin, "C:\\x", true);
  EXPECT_TRUE(linter.warnings().empty());
}

TEST(Check, RepeatedInstructionsAreReportedAtTheEarlierOne) {
  EXPECT_EQ(StageWarnings("CMD [\"a\"]\nRUN x\nCMD [\"b\"]\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n"),
            (Strings{"MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in "
                     "the same stage because only the last one will be used (line 2)",
                     "MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be "
                     "used in the same stage because only the last one will be used (line 5)"}));
}

TEST(Check, LegacyFormatAndSecrets) {
  EXPECT_EQ(StageWarnings("ENV A b\nLABEL c d\n"),
            (Strings{"LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV "
                     "key value\" format (line 2)",
                     "LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy "
                     "\"LABEL key value\" format (line 3)"}));
  EXPECT_EQ(StageWarnings("ARG GITHUB_TOKEN monkey PUBLIC_KEY\nENV api_key=1 PASSWORD_FILE=x\n"),
            (Strings{"SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data "
                     "(ARG \"GITHUB_TOKEN\") (line 2)",
                     "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data "
                     "(ENV \"api_key\") (line 3)"}));
}

TEST(Check, InstructionsCanSkipRulesForThemselves) {
  EXPECT_EQ(StageWarnings("# check=skip=LegacyKeyValueFormat\nENV A b\nENV C d\n"),
            Strings{"LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV "
                    "key value\" format (line 4)"});
  EXPECT_EQ(FileWarnings("# c\n#\n# check=skip=all\nFROM a as b\n"), Strings{});
  EXPECT_EQ(FileWarnings("# check=skip=FromAsCasing\nFROM a as b\nFROM a as c\n"), Strings{})
      << "at the top it is the file's";
}

TEST(Check, ReportsOfLoweringHaveTheKnownTexts) {
  Dockerfile file = Parse("FROM --platform=linux/amd64 a:$X AS s\nEXPOSE 1\n");
  const Stage& stage = file.stages[0];
  Linter linter(CheckOptions{});
  Strings names{"FOO", "BAR"};
  linter.UndefinedArgInFrom(stage.origin, "FO", names);
  linter.UndefinedVar(stage.origin, "BARR", names);
  linter.UndefinedVar(stage.origin, "else", names);
  linter.InvalidDefaultArgInFrom(stage);
  linter.RedundantTargetPlatform(stage);
  linter.ConstantFromPlatform(stage, "linux/amd64", "linux", "amd64");
  linter.InvalidBaseImagePlatform(stage, "a", "linux/amd64", "linux/arm64");
  linter.CopyIgnoredFile(stage.origin, true, "x/y");
  StageChecks checks(linter);
  checks.OnExpose(stage.origin, "1:80/TCP", true, true);
  Strings want{"UndefinedArgInFrom: FROM argument 'FO' is not declared (did you mean FOO?) (line 1)",
               "UndefinedVar: Usage of undefined variable '$BARR' (did you mean $BAR?) (line 1)",
               "UndefinedVar: Usage of undefined variable '$else' (line 1)",
               "InvalidDefaultArgInFrom: Default value for ARG a:$X results in empty or invalid base image "
               "name (line 1)",
               "RedundantTargetPlatform: Setting platform to predefined linux/amd64 in FROM is redundant as "
               "this is the default behavior (line 1)",
               "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "
               "\"linux/amd64\" (line 1)",
               "InvalidBaseImagePlatform: Base image a was pulled with platform \"linux/arm64\", expected "
               "\"linux/amd64\" for current build (line 1)",
               "CopyIgnoredFile: Attempting to Add file \"x/y\" that is excluded by .dockerignore (line 1)",
               "ExposeProtoCasing: Defined protocol '1:80/TCP' in EXPOSE instruction should be lowercase "
               "(line 1)",
               "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port "
               "mapping, "
               "found '1:80/TCP' (line 1)"};
  EXPECT_EQ(Short(linter), want);
}

TEST(Check, PlatformInTheStageNameIsDeliberate) {
  Dockerfile file = Parse("FROM --platform=linux/amd64 a AS x-amd64\n");
  Linter linter(CheckOptions{});
  linter.ConstantFromPlatform(file.stages[0], "linux/amd64", "linux", "amd64");
  EXPECT_TRUE(linter.warnings().empty());
}

TEST(CheckOptions, AreReadStrictly) {
  auto options = ParseCheckOptions(" skip= A , B ;error=TRUE;experimental=all");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->skip, (std::set<std::string>{"A", "B"}));
  EXPECT_TRUE(options->error);
  EXPECT_TRUE(options->experimental_all);
  EXPECT_FALSE(options->skip_all);
  EXPECT_EQ(ParseCheckOptions("skip").error().message, "invalid check option \"skip\"");
  EXPECT_EQ(ParseCheckOptions("skpi=a").error().message, "invalid check option \"skpi\"");
  EXPECT_EQ(ParseCheckOptions("error=x").error().message,
            "failed to parse check option \"error=x\": strconv.ParseBool: parsing \"x\": invalid "
            "syntax");
  EXPECT_TRUE(ParseCheckOptions("  "));
}

TEST(CheckOptions, BuildArgumentBeatsTheDirective) {
  Dockerfile file = Parse("# check=skip=A\nFROM a\n");
  EXPECT_TRUE(FileCheckOptions(file.directives, std::nullopt)->skip.contains("A"));
  EXPECT_TRUE(FileCheckOptions(file.directives, "error=1")->error);
  EXPECT_TRUE(FileCheckOptions(file.directives, "error=1")->skip.empty());
}

TEST(CheckOptions, ErrorMakesWarningsFatal) {
  Dockerfile file = Parse("# check=error=true\nFROM a as B\nFROM a\n");
  Linter linter = LinterOf(file);
  EXPECT_TRUE(linter.Verdict());
  CheckFile(file, linter);
  auto verdict = linter.Verdict();
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().message, "lint violation found for rules: FromAsCasing, StageNameCasing");
}

TEST(Check, WarningsCarryTheRulesPage) {
  EXPECT_EQ(RuleUrl(Rule::kUndefinedVar), "https://docs.docker.com/go/dockerfile/rule/undefined-var/");
  EXPECT_EQ(RuleUrl(Rule::kInvalidBaseImagePlatform), "");
  for (int i = 0; i <= static_cast<int>(Rule::kExposeInvalidFormat); ++i) {
    EXPECT_FALSE(Describe(static_cast<Rule>(i)).description.empty()) << i;
  }
}

}  // namespace
}  // namespace varve::dockerfile
