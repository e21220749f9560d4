// What `--call` prints: the reference's JSON and text, byte for byte where it has them.
#include "dockerfile/check_report.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "dockerfile/outline.h"
#include "dockerfile/parser.h"
#include "dockerfile/subrequests.h"

namespace varve::dockerfile {
namespace {

constexpr std::string_view kSource = "FROM a AS One\nMAINTAINER me\n";

CheckReport ReportOf(std::string_view text) {
  CheckReport report{.file_name = "Dockerfile", .source = std::string(text)};
  auto file = ParseDockerfile(text);
  if (!file) {
    report.error = file.error();
    return report;
  }
  Linter linter(CheckOptions{});
  CheckFile(*file, linter);
  report.warnings = linter.warnings();
  return report;
}

TEST(CheckReport, NothingFound) {
  CheckReport report = ReportOf("FROM a\n");
  EXPECT_EQ(ToText(report), "Check complete, no warnings found.\n");
  EXPECT_EQ(report.StatusCode(), 0);
  EXPECT_EQ(ToJson(report).Dump(), "{\"warnings\":[],\"sources\":[{\"filename\":\"Dockerfile\",\"data\":\"" +
                                       Base64Encode("FROM a\n") + "\",\"language\":\"Dockerfile\"}]}");
}

TEST(CheckReport, TextIsByLineAndHasTheLines) {
  CheckReport report = ReportOf(kSource);
  std::swap(report.warnings[0], report.warnings[1]);
  EXPECT_EQ(report.StatusCode(), 1);
  EXPECT_EQ(ToText(report),
            "Check complete, 2 warnings have been found!\n"
            "\n"
            "WARNING: StageNameCasing - "
            "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n"
            "Stage name 'One' should be lowercase\n"
            "Dockerfile:1\n"
            "--------------------\n"
            "   1 | >>> FROM a AS One\n"
            "   2 |     MAINTAINER me\n"
            "   3 |     \n"
            "--------------------\n"
            "\n"
            "WARNING: MaintainerDeprecated - "
            "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\n"
            "Maintainer instruction is deprecated in favor of using label\n"
            "Dockerfile:2\n"
            "--------------------\n"
            "   1 |     FROM a AS One\n"
            "   2 | >>> MAINTAINER me\n"
            "   3 |     \n"
            "--------------------\n");
}

TEST(CheckReport, JsonHasRuleTextsAndPlaces) {
  Json json = ToJson(ReportOf(kSource));
  const Json& warning = json.GetArray("warnings")[1];
  EXPECT_EQ(warning.Dump(),
            "{\"ruleName\":\"MaintainerDeprecated\",\"description\":\"The MAINTAINER instruction "
            "is deprecated, use a label instead to define an image author\",\"url\":"
            "\"https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\",\"detail\":"
            "\"Maintainer instruction is deprecated in favor of using label\",\"location\":"
            "{\"ranges\":[{\"start\":{\"line\":2},\"end\":{\"line\":2}}]}}");
}

TEST(CheckReport, ErrorIsPartOfTheJsonAndCounts) {
  CheckReport report = ReportOf("FROM a\nRNU x\n");
  EXPECT_EQ(report.StatusCode(), 1);
  EXPECT_EQ(ToText(report), "") << "the error is the answer";
  Json json = ToJson(report);
  EXPECT_EQ(json.Find("buildError")->Dump(),
            "{\"message\":\"dockerfile parse error on line 2: unknown instruction: RNU (did you "
            "mean RUN?)\",\"location\":{\"ranges\":[{\"start\":{\"line\":2,\"character\":1},"
            "\"end\":{\"line\":2,\"character\":3}}]}}");
}

TEST(CheckReport, ErrorWithoutAPlaceHasNoRanges) {
  CheckReport report{.file_name = "Dockerfile", .source = "FROM a\n"};
  report.error = SourceError{Invalid("nothing to build"), {}};
  EXPECT_EQ(ToJson(report).Find("buildError")->Dump(), "{\"message\":\"nothing to build\",\"location\":{}}");
}

TEST(Subrequests, DescribeNamesWhatCanBeCalled) {
  EXPECT_EQ(DescribeText(),
            "NAME                 VERSION DESCRIPTION\n"
            "outline              1.0.0   List all parameters current build target supports\n"
            "targets              1.0.0   List all targets current build supports\n"
            "lint                 1.0.0   Lint a Dockerfile\n"
            "subrequests.describe 1.0.0   List available subrequest types\n");
  EXPECT_EQ(DescribeJson().Dump(),
            "[{\"name\":\"frontend.outline\",\"version\":\"1.0.0\",\"type\":\"rpc\",\"description\":"
            "\"List all parameters current build target supports\",\"opts\":[{\"name\":\"target\","
            "\"description\":\"Target build stage\"}],\"metadata\":[{\"name\":\"result.json\"},"
            "{\"name\":\"result.txt\"}]},"
            "{\"name\":\"frontend.targets\",\"version\":\"1.0.0\",\"type\":\"rpc\",\"description\":"
            "\"List all targets current build supports\",\"metadata\":[{\"name\":\"result.json\"},"
            "{\"name\":\"result.txt\"}]},"
            "{\"name\":\"frontend.lint\",\"version\":\"1.0.0\",\"type\":\"rpc\",\"description\":"
            "\"Lint a Dockerfile\",\"metadata\":[{\"name\":\"result.json\"},{\"name\":\"result.txt\"}"
            ",{\"name\":\"result.statuscode\"}]},"
            "{\"name\":\"frontend.subrequests.describe\",\"version\":\"1.0.0\",\"type\":\"rpc\","
            "\"description\":\"List available subrequest types\",\"metadata\":[{\"name\":"
            "\"result.json\"}]}]");
}

TEST(Outline, TextHasATableForEachKind) {
  Outline outline{.name = "app", .description = "the server"};
  outline.args = {{"VERSION", "of the app", "1.0", {}}, {"B", "", "", {}}};
  outline.secrets = {{"npm", true, {}}, {"optional", false, {}}};
  outline.ssh = {{"default", false, {}}};
  outline.caches = {{"not shown", {}}};
  EXPECT_EQ(ToText(outline),
            "TARGET:      app\n"
            "DESCRIPTION: the server\n"
            "\n"
            "BUILD ARG   VALUE   DESCRIPTION\n"
            "VERSION     1.0     of the app\n"
            "B                   \n"
            "\n"
            "SECRET     REQUIRED\n"
            "npm        true\n"
            "optional   \n"
            "\n"
            "SSH       REQUIRED\n"
            "default   \n"
            "\n");
}

TEST(Targets, TextAndJson) {
  auto file = ParseDockerfile("# base what all share\nFROM --platform=linux/amd64 a AS base\nFROM base\n");
  ASSERT_TRUE(file);
  EXPECT_EQ(ToText(ListTargets(*file)),
            "TARGET    DESCRIPTION\n"
            "base      what all share\n"
            "(default) \n");
  EXPECT_EQ(ToJson(ListTargets(*file), "x").Dump(),
            "{\"targets\":[{\"name\":\"base\",\"description\":\"what all share\",\"base\":\"a\","
            "\"platform\":\"linux/amd64\",\"location\":{\"ranges\":[{\"start\":{\"line\":2},\"end\":"
            "{\"line\":2}}]}},{\"default\":true,\"base\":\"base\",\"location\":{\"ranges\":[{"
            "\"start\":{\"line\":3},\"end\":{\"line\":3}}]}}],\"sources\":[\"eA==\"]}");
}

}  // namespace
}  // namespace varve::dockerfile
