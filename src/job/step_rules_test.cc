#include "job/step_rules.h"

#include <gtest/gtest.h>

namespace varve::job {
namespace {

graph::Step RunStep(const std::string& text, const std::string& stage = "deps") {
  return {.op = graph::Exec{}, .name = "[x] " + text, .stage = stage, .text = text};
}

TEST(StepRules, AStageOrAPartOfTheTextNamesAStep) {
  graph::Step step = RunStep("RUN apt-get update && apt-get install -y git");
  for (const char* pattern : {"", "deps", "DEPS", "apt-get update", "RUN apt*git", "*", "RUN *"}) {
    EXPECT_TRUE(MatchesStep(pattern, step)) << pattern;
  }
  for (const char* pattern : {"dep", "apt-get upgrade", "git*apt", "COPY"}) {
    EXPECT_FALSE(MatchesStep(pattern, step)) << pattern;
  }
}

TEST(StepRules, AgesAreGoDurationsAndDaysAndWeeks) {
  using std::chrono::hours;
  EXPECT_EQ(*ParseAge("7d"), hours(168));
  EXPECT_EQ(*ParseAge("1w"), hours(168));
  EXPECT_EQ(*ParseAge("1w2d3h"), hours(168 + 48 + 3));
  EXPECT_EQ(*ParseAge("12h"), hours(12));
  EXPECT_EQ(*ParseAge("0s"), Nanos(0));
  for (const char* text : {"", "7", "d", "-1d", "7 days", "1d2w", "-5m", "1.5d"}) {
    EXPECT_FALSE(ParseAge(text)) << text;
  }
}

TEST(StepRules, ARuleMayNameItsStep) {
  EXPECT_EQ(ParseAgeRule("7d")->step, "");
  AgeRule rule = *ParseAgeRule("RUN make V=1 install=12h");
  EXPECT_EQ(rule.step, "RUN make V=1 install");
  EXPECT_EQ(rule.limit, std::chrono::hours(12));
  EXPECT_FALSE(ParseAgeRule("=7d"));
  EXPECT_FALSE(ParseAgeRule("deps="));
}

TEST(StepRules, TheLastFlagWinsAndFlagsWinOverTheFile) {
  graph::Graph graph;
  graph.Add({.op = graph::LocalSource{}});
  graph.Add(RunStep("RUN apt-get update"));
  graph.Add(RunStep("RUN make", "build"));
  auto config = ParseBuildConfig(R"({"cache_max_age": {"*": "30d", "apt-get": "1d"}})", "build.json").value();
  auto limits = AgeLimits(graph, {*ParseAgeRule("build=1h"), *ParseAgeRule("make=2h")}, config.max_age);
  EXPECT_FALSE(limits[0]);
  EXPECT_EQ(limits[1]->limit, std::chrono::hours(24));
  EXPECT_EQ(limits[1]->rule, "cache_max_age 1d of build.json");
  EXPECT_EQ(limits[2]->limit, std::chrono::hours(2));
  EXPECT_TRUE(AgeLimits(graph, {}, {}).empty());
}

TEST(StepRules, TheFileIsReadStrictly) {
  auto config =
      ParseBuildConfig(R"({"history": {"keep_builds": 10, "keep_for": "1w", "keep_bytes": "1m"}})", "f").value();
  EXPECT_EQ(config.keep_builds, 10);
  EXPECT_EQ(config.keep_for, std::chrono::hours(168));
  EXPECT_EQ(config.keep_bytes, 1u << 20);
  for (const char* text : {"{", "[]", R"({"cache_age": {}})", R"({"cache_max_age": {"a": 7}})",
                           R"({"cache_max_age": {"a": "x"}})", R"({"history": {"keep": 1}})"}) {
    EXPECT_FALSE(ParseBuildConfig(text, "f")) << text;
  }
}

TEST(StepRules, ACheckOfNoStepIsRefused) {
  graph::Graph graph;
  graph.Add(RunStep("RUN apt-get update"));
  graph.Add(RunStep("RUN make", "build"));
  EXPECT_EQ(*MustHit(graph, {"build"}), (std::vector<bool>{false, true}));
  EXPECT_EQ(*MustHit(graph, {""}), (std::vector<bool>{true, true}));
  EXPECT_TRUE(MustHit(graph, {})->empty());
  EXPECT_EQ(MustHit(graph, {"npm ci"}).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace varve::job
