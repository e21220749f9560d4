// What a build refuses to take from the cache, what it refuses to run, and what it says it would do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Forecast = Plan::Forecast;

constexpr Nanos kDay = std::chrono::hours(24);

class LimitsTest : public ::testing::Test {
 protected:
  LimitsTest() {
    world.images["debian"] = "debian v1";
    world.sources["context"] = {{"src/a", "a"}};
    base = AddImage(graph, "debian");
    update = AddRun(graph, "update", base);
    install = AddRun(graph, "install", update);
    make = AddRun(graph, "make", install);
    world.unstable = {"update"};
  }
  void LimitAge(graph::StepIndex step, Nanos age) {
    world.max_age.resize(graph.steps.size());
    world.max_age[step] = AgeLimit{age, "--cache-max-age"};
  }
  FakeWorld world;
  graph::Graph graph;
  graph::StepIndex base, update, install, make;
};

TEST_F(LimitsTest, ARunIsToldWhetherOthersMayFollow) {
  graph::StepIndex beside = AddRun(graph, "beside", base);
  world.Build(graph, {{make}, {beside}});
  EXPECT_THAT(world.more_to_run, UnorderedElementsAre("update", "install", "beside"));
  // What is cached does not follow.
  world.clock.Advance(8 * kDay);
  LimitAge(beside, 7 * kDay);
  world.Build(graph, {{make}, {beside}});
  EXPECT_THAT(world.ran, ElementsAre("beside"));
  EXPECT_THAT(world.more_to_run, IsEmpty());
}

// --- Age ---------------------------------------------------------------------------------------------

TEST_F(LimitsTest, AYoungRecordHits) {
  world.Build(graph, {{make}});
  world.clock.Advance(6 * kDay);
  LimitAge(update, 7 * kDay);
  EXPECT_FALSE(world.Build(graph, {{make}}).error);
  EXPECT_THAT(world.ran, IsEmpty());
}

TEST_F(LimitsTest, AnOldRecordRunsAgainAndSoDoesWhatHoldsItsResult) {
  Outcome first = world.Build(graph, {{make}});
  world.clock.Advance(8 * kDay);
  LimitAge(update, 7 * kDay);
  Outcome second = world.Build(graph, {{make}});
  EXPECT_THAT(world.ran, ElementsAre("update", "install", "make"));
  EXPECT_NE(first.wanted[0].layers, second.wanted[0].layers);
  EXPECT_EQ(world.reasons[update][0].kind, Reason::Kind::kMaxAge);
  EXPECT_EQ(Summarise(world.reasons[make]), "because RUN update ran");
  // The new record is young.
  Outcome third = world.Build(graph, {{make}});
  EXPECT_THAT(world.ran, IsEmpty());
  EXPECT_EQ(third.wanted[0].layers, second.wanted[0].layers);
}

TEST_F(LimitsTest, StepsBelowTheLimitedOneStillHit) {
  world.Build(graph, {{make}});
  world.clock.Advance(8 * kDay);
  LimitAge(make, 7 * kDay);
  world.Build(graph, {{make}});
  EXPECT_THAT(world.ran, ElementsAre("make"));
}

TEST_F(LimitsTest, ZeroAcceptsNothing) {
  world.Build(graph, {{make}});
  LimitAge(update, Nanos(0));
  world.Build(graph, {{make}});
  EXPECT_THAT(world.ran, ElementsAre("update", "install", "make"));
}

// A build that was interrupted after the limited step left a young record of it below old ones.
TEST_F(LimitsTest, ARecordThatHoldsAnOlderResultDoesNotCount) {
  world.Build(graph, {{make}});
  world.clock.Advance(8 * kDay);
  LimitAge(update, 7 * kDay);
  world.failing = {"install"};
  EXPECT_TRUE(world.Build(graph, {{make}}).error);
  world.failing = {};
  Outcome outcome = world.Build(graph, {{make}});
  EXPECT_THAT(world.ran, ElementsAre("install", "make"));
  EXPECT_THAT(Summarise(world.reasons[install]), HasSubstr("holds an older result of RUN update"));
  EXPECT_EQ(outcome.wanted[0].layers.size(), 4u);
}

TEST_F(LimitsTest, ALimitedStepWhoseRecordIsGoneTakesWhatIsOnTopOfItAlong) {
  Outcome first = world.Build(graph, {{make}});
  world.records.erase(first.steps[update].key);
  LimitAge(update, 7 * kDay);
  world.Build(graph, {{make}});
  EXPECT_THAT(world.ran, ElementsAre("update", "install", "make"));
}

TEST_F(LimitsTest, AStageThatIsOnlyReadKeepsItsCutoff) {
  auto copy = AddCopy(graph, "bin", update, -1, "final");
  world.Build(graph, {{copy}});
  world.clock.Advance(8 * kDay);
  LimitAge(update, 7 * kDay);
  world.Build(graph, {{copy}});
  EXPECT_THAT(world.ran, ElementsAre("update"));  // and what is copied from it is the same
}

TEST_F(LimitsTest, ALimitedStepWhoseKeyWaitsForAStageIsSettledFirst) {
  auto context = AddContext(graph);
  auto source = AddCopy(graph, "src", context, -1, "source");
  auto generate = AddRun(graph, "generate", source, "source");
  auto take = AddCopy(graph, "out", generate, static_cast<int>(base), "final");
  auto fetch = AddRun(graph, "fetch", take, "final");
  auto pack = AddRun(graph, "pack", fetch, "final");
  world.Build(graph, {{pack}});
  world.sources["context"]["src/a"] = "changed";
  LimitAge(fetch, 7 * kDay);
  Outcome outcome = world.Build(graph, {{pack}});
  ASSERT_FALSE(outcome.error) << outcome.error->message;
  EXPECT_TRUE(world.Ran("pack"));
  world.Build(graph, {{pack}});
  EXPECT_THAT(world.ran, IsEmpty());
}

// --- Must hit ----------------------------------------------------------------------------------------

TEST_F(LimitsTest, AStepThatMustHitEndsTheBuildBeforeItRuns) {
  world.must_hit.assign(graph.steps.size(), true);
  Outcome outcome = world.Build(graph, {{make}});
  ASSERT_TRUE(outcome.error);
  EXPECT_TRUE(outcome.cache_miss);
  EXPECT_EQ(outcome.failed_step, update);
  EXPECT_EQ(outcome.error->message, "step \"RUN update\" is not cached: never built here");
  EXPECT_THAT(world.ran, IsEmpty());
}

TEST_F(LimitsTest, OtherStepsMayRun) {
  world.Build(graph, {{update}});
  world.must_hit.assign(graph.steps.size(), false);
  world.must_hit[update] = true;
  Outcome outcome = world.Build(graph, {{make}});
  EXPECT_FALSE(outcome.error);
  EXPECT_FALSE(outcome.cache_miss);
  EXPECT_THAT(world.ran, ElementsAre("install", "make"));
}

// --- Forecast ----------------------------------------------------------------------------------------

TEST_F(LimitsTest, AForecastTouchesNothing) {
  world.dry_run = true;
  Outcome outcome = world.Build(graph, {{make}});
  EXPECT_FALSE(outcome.error);
  EXPECT_THAT(outcome.forecast, ElementsAre(Forecast::kFetch, Forecast::kRun, Forecast::kRun, Forecast::kRun));
  EXPECT_THAT(world.ran, IsEmpty());
  EXPECT_EQ(world.pulls, 0);
  EXPECT_TRUE(world.records.empty());
}

TEST_F(LimitsTest, AForecastStopsAtHits) {
  world.Build(graph, {{make}});
  world.dry_run = true;
  Outcome outcome = world.Build(graph, {{make}});
  EXPECT_THAT(outcome.forecast,
              ElementsAre(Forecast::kNotNeeded, Forecast::kNotNeeded, Forecast::kNotNeeded, Forecast::kHit));
  EXPECT_TRUE(outcome.steps[make].reasons.empty());
}

TEST_F(LimitsTest, AForecastGivesReasonsAndWhatEachCostTheLastTime) {
  world.Build(graph, {{make}});
  for (auto& [key, record] : world.records) record.wall = std::chrono::seconds(3);
  std::get<graph::Exec>(graph.steps[install].op).args.back() = "install -y";
  world.dry_run = true;
  Outcome outcome = world.Build(graph, {{make}});
  EXPECT_THAT(outcome.forecast, ElementsAre(Forecast::kNotNeeded, Forecast::kHit, Forecast::kRun, Forecast::kRun));
  EXPECT_EQ(Summarise(outcome.steps[install].reasons), "command was \"install\", is \"install -y\"");
  EXPECT_EQ(Summarise(outcome.steps[make].reasons), "because RUN install ran");
  EXPECT_EQ(outcome.steps[make].cause, install);
  EXPECT_EQ(outcome.steps[make].expected, std::chrono::seconds(3));
}

TEST_F(LimitsTest, WhatReadsAStageThatWouldRunIsOpen) {
  auto copy = AddCopy(graph, "out", make, -1, "final");
  auto pack = AddRun(graph, "pack", copy, "final");
  world.Build(graph, {{pack}});
  std::get<graph::Exec>(graph.steps[make].op).args.back() = "make all";
  world.dry_run = true;
  Outcome outcome = world.Build(graph, {{pack}});
  EXPECT_EQ(outcome.forecast[make], Forecast::kRun);
  EXPECT_EQ(outcome.forecast[copy], Forecast::kUnknown);
  EXPECT_EQ(outcome.forecast[pack], Forecast::kUnknown);
  EXPECT_EQ(Summarise(outcome.steps[copy].reasons), "depends on what RUN make gives");
  EXPECT_EQ(outcome.steps[pack].cause, make);
  EXPECT_TRUE(outcome.steps[pack].expected);
}

TEST_F(LimitsTest, LayersThatAreGoneAreFetchedOrMadeAgain) {
  Outcome first = world.Build(graph, {{make}});
  world.layers.erase(first.wanted[0].layers.back());
  world.dry_run = true;
  EXPECT_EQ(world.Build(graph, {{make}}).forecast[make], Forecast::kFetch);
}

}  // namespace
}  // namespace varve::engine
