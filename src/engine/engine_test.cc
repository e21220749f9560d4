#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    world.images["node"] = "node v1";
    world.sources["context"] = {{"package.json", "{}"}, {"src/a.js", "a"}, {"README", "r"}};
  }
  FakeWorld world;
  graph::Graph graph;
};

TEST_F(EngineTest, SecondBuildRunsNothing) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  ASSERT_FALSE(world.Build(graph, {{run}}).error);
  EXPECT_THAT(world.ran, ElementsAre("make"));
  Outcome again = world.Build(graph, {{run}});
  EXPECT_THAT(world.ran, IsEmpty());
  EXPECT_EQ(again.totals.cached, 1);
  EXPECT_EQ(again.totals.ran, 0);
}

TEST_F(EngineTest, TheRunnerIsPreparedOnceBeforeStepsRunAndNotForHits) {
  auto run = AddRun(graph, "test", AddRun(graph, "make", AddImage(graph, "node")));
  ASSERT_FALSE(world.Build(graph, {{run}}).error);
  EXPECT_EQ(world.prepared, 1);
  world.Build(graph, {{run}});
  EXPECT_EQ(world.prepared, 1);

  world.not_ready = Error{Code::kInternal, "no namespace", ""};
  auto other = AddRun(graph, "other", run);
  Outcome outcome = world.Build(graph, {{other}});
  ASSERT_TRUE(outcome.error);
  EXPECT_THAT(outcome.error->message, HasSubstr("no namespace"));
  EXPECT_THAT(world.ran, IsEmpty());
}

TEST_F(EngineTest, WholeChainIsLookedUpInOneRound) {
  auto step = AddImage(graph, "node");
  for (int i = 0; i < 20; ++i) step = AddRun(graph, std::to_string(i), step);
  world.Build(graph, {{step}});
  Outcome again = world.Build(graph, {{step}});
  EXPECT_EQ(again.totals.rounds, 1);
  EXPECT_EQ(again.totals.cached, 20);
}

TEST_F(EngineTest, NothingIsPulledWhenEverythingHits) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  world.Build(graph, {{run}});
  EXPECT_EQ(world.pulls, 1);
  world.layers.clear();
  Outcome again = world.Build(graph, {{run}}, /*want_data=*/false);
  EXPECT_FALSE(again.error);
  EXPECT_EQ(world.pulls, 1);
  EXPECT_THAT(world.ran, IsEmpty());
}

TEST_F(EngineTest, AFileActionHearsWhatItFoundBelowWhenItRanOnTheSameLayers) {
  auto context = AddContext(graph);
  auto copy = AddCopy(graph, "src", context, AddImage(graph, "node"));
  world.Build(graph, {{copy}});
  ASSERT_EQ(world.directories_told.size(), 1u);
  const std::string command = world.directories_told.begin()->first;
  EXPECT_THAT(world.directories_told[command], IsEmpty());
  world.sources["context"]["src/a.js"] = "b";
  world.Build(graph, {{copy}});
  EXPECT_EQ(world.directories_told[command], (std::map<RelPath, Timestamp>{{RelPath("out"), Timestamp{42}}}));
  world.images["node"] = "node v2";
  world.Build(graph, {{copy}});
  EXPECT_THAT(world.directories_told[command], IsEmpty());
}

TEST_F(EngineTest, AChangedFileReRunsOnlyWhatReadsIt) {
  auto base = AddImage(graph, "node");
  auto context = AddContext(graph);
  auto deps = AddRun(graph, "npm ci", AddCopy(graph, "package.json", context, base));
  auto app = AddRun(graph, "build", AddCopy(graph, "src", context, deps));
  world.Build(graph, {{app}});
  world.sources["context"]["src/a.js"] = "changed";
  ASSERT_FALSE(world.Build(graph, {{app}}).error);
  EXPECT_THAT(world.ran, ElementsAre("COPY src", "build"));
  EXPECT_EQ(Summarise(world.reasons[app - 1]), "src/a.js: content changed");
  EXPECT_EQ(Summarise(world.reasons[app]), "because COPY src ran");
}

TEST_F(EngineTest, AnUnreadFileCausesNoMiss) {
  auto copy = AddCopy(graph, "src", AddContext(graph), -1);
  world.Build(graph, {{copy}});
  world.sources["context"]["README"] = "changed";
  world.Build(graph, {{copy}});
  EXPECT_THAT(world.ran, IsEmpty());
}

TEST_F(EngineTest, AMissingFileFailsTheStepThatNamesIt) {
  auto copy = AddCopy(graph, "nothing", AddContext(graph), -1);
  Outcome outcome = world.Build(graph, {{copy}});
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.failed_step, copy);
  EXPECT_THAT(outcome.error->message, HasSubstr("\"/nothing\": not found"));
}

TEST_F(EngineTest, AStageThatGivesTheSameFilesCutsOff) {
  auto base = AddImage(graph, "node");
  auto context = AddContext(graph);
  // The builder reads src but its output file "out/lint" depends on what it sees; the last stage
  // copies only "bin", which the base gave.
  auto builder = AddRun(graph, "lint", AddCopy(graph, "src", context, base, "b"), "b");
  auto last = AddRun(graph, "pack", AddCopy(graph, "bin", builder, -1));
  world.Build(graph, {{last}});
  EXPECT_TRUE(world.Ran("pack"));
  world.sources["context"]["src/a.js"] = "changed";
  world.Build(graph, {{last}});
  EXPECT_THAT(world.ran, ElementsAre("COPY src", "lint"));
}

TEST_F(EngineTest, AMiddleStageIsNotRebuiltWhenItsLayersAreGone) {
  auto base = AddImage(graph, "node");
  auto builder = AddRun(graph, "compile", base, "b");
  auto copy = AddCopy(graph, "out", builder, -1);
  world.Build(graph, {{copy}});
  StepKey key = world.Build(graph, {{builder}}).steps[builder].key;
  DiffId compiled = world.records.at(key).outputs[0].layers.back();
  world.layers.erase(compiled);
  ASSERT_FALSE(world.Build(graph, {{copy}}).error);
  EXPECT_THAT(world.ran, IsEmpty());
}

TEST_F(EngineTest, AHitWhoseLayersAreGoneRunsOnceMore) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  Outcome first = world.Build(graph, {{run}});
  world.layers.erase(first.wanted[0].layers.back());
  Outcome second = world.Build(graph, {{run}});
  ASSERT_FALSE(second.error) << second.error->message;
  EXPECT_THAT(world.ran, ElementsAre("make"));
  EXPECT_EQ(Summarise(world.reasons[run]), "it was built before, but its cached result is lost: layers are gone");
}

TEST_F(EngineTest, ARecordOfATierThatLeftItsLayersOutSaysSo) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  Outcome first = world.Build(graph, {{run}});
  world.layers.erase(first.wanted[0].layers.back());
  world.tier = "local:cache";
  world.Build(graph, {{run}});
  EXPECT_EQ(Summarise(world.reasons[run]),
            "cache local:cache has its record and no sound copy of its layers; an export with mode=max sends them");
}

TEST_F(EngineTest, WhatRanAgainAndCameOutDifferentlyIsReadAnew) {
  auto base = AddImage(graph, "node");
  auto builder = AddRun(graph, "date", base, "b");
  auto copy = AddCopy(graph, "out", builder, -1);
  auto after = AddRun(graph, "use", copy);
  world.unstable = {"date"};
  Outcome first = world.Build(graph, {{after}});
  // The middle stage's layer and the final steps' records are lost; the stage must run again, gives
  // something else, and what follows must be keyed by that.
  world.layers.clear();
  for (auto i : {copy, after}) world.records.erase(first.steps[i].key);
  Outcome second = world.Build(graph, {{after}});
  ASSERT_FALSE(second.error) << second.error->message;
  EXPECT_THAT(world.ran, ElementsAre("date", "COPY out", "use"));
  EXPECT_NE(first.steps[copy].key, second.steps[copy].key);
}

// The layers of a step's result, topmost last.
std::vector<DiffId> LayersOf(const FakeWorld& world, const Outcome& outcome, graph::StepIndex step) {
  return world.records.at(outcome.steps[step].key).outputs[0].layers;
}

TEST_F(EngineTest, ACopyRunsWithoutTheLayersThatItDoesNotNeed) {
  auto stage = AddRun(graph, "make", AddRun(graph, "apt", AddImage(graph, "node"), "s"), "s");
  auto base = AddRun(graph, "base", AddImage(graph, "node"));
  auto copy = AddCopy(graph, "out", stage, static_cast<int>(base));
  Outcome first = world.Build(graph, {{copy}}, false);
  world.records.erase(first.steps[copy].key);
  world.layers.erase(LayersOf(world, first, stage)[1]);
  world.layers.erase(LayersOf(world, first, base)[0]);
  Outcome second = world.Build(graph, {{copy}}, false);
  ASSERT_FALSE(second.error) << second.error->message;
  EXPECT_THAT(world.ran, ElementsAre("COPY out"));
  EXPECT_EQ(second.wanted, first.wanted);
}

TEST_F(EngineTest, ACopyWhoseNeededLayerIsGoneHasItMadeAgain) {
  auto stage = AddRun(graph, "make", AddRun(graph, "apt", AddImage(graph, "node"), "s"), "s");
  auto copy = AddCopy(graph, "out", stage, -1);
  Outcome first = world.Build(graph, {{copy}}, false);
  world.records.erase(first.steps[copy].key);
  world.layers.erase(LayersOf(world, first, stage)[2]);
  Outcome second = world.Build(graph, {{copy}}, false);
  ASSERT_FALSE(second.error) << second.error->message;
  EXPECT_THAT(world.ran, ElementsAre("make", "COPY out"));
  EXPECT_EQ(second.wanted, first.wanted);
}

// The result is wanted here: what is below the copy's own layer has to be here too.
TEST_F(EngineTest, ACopyOntoABaseWithoutALayerHasTheBaseMadeAgainForAnOutput) {
  auto base = AddRun(graph, "base", AddRun(graph, "apt", AddImage(graph, "node")));
  auto copy = AddCopy(graph, "out", AddContext(graph, "context"), static_cast<int>(base));
  world.sources["context"] = {{"out/file", "1"}};
  Outcome first = world.Build(graph, {{copy}});
  world.sources["context"] = {{"out/file", "2"}};
  world.layers.erase(LayersOf(world, first, base)[1]);
  Outcome second = world.Build(graph, {{copy}});
  ASSERT_FALSE(second.error) << second.error->message;
  EXPECT_THAT(world.ran, ElementsAre("apt", "base", "COPY out"));
  for (const DiffId& layer : second.wanted[0].layers) EXPECT_TRUE(world.layers.contains(layer));
}

TEST_F(EngineTest, ARerunOfAnUnstableStepDoesNotCascadeThroughLineage) {
  auto base = AddImage(graph, "node");
  auto apt = AddRun(graph, "apt", base);
  auto make = AddRun(graph, "make", apt);
  world.unstable = {"apt"};
  Outcome first = world.Build(graph, {{make}});
  world.records.erase(first.steps[apt].key);
  world.Build(graph, {{make}});
  EXPECT_THAT(world.ran, IsEmpty());
}

TEST_F(EngineTest, EqualStepsOfTwoStagesRunOnce) {
  auto base = AddImage(graph, "node");
  auto a = AddRun(graph, "apt", base, "a");
  auto b = AddRun(graph, "apt", base, "b");
  auto merged = AddCopy(graph, "out", a, static_cast<int>(b));
  ASSERT_FALSE(world.Build(graph, {{merged}}).error);
  EXPECT_THAT(world.ran, UnorderedElementsAre("apt", "COPY out"));
}

TEST_F(EngineTest, NoCacheRunsEverythingAndReplacesRecords) {
  auto base = AddImage(graph, "node");
  auto a = AddRun(graph, "a", base);
  auto b = AddRun(graph, "b", a);
  world.unstable = {"a", "b"};
  Outcome first = world.Build(graph, {{b}});
  graph.steps[a].no_cache = true;
  Outcome second = world.Build(graph, {{b}});
  EXPECT_THAT(world.ran, ElementsAre("a", "b"));
  EXPECT_EQ(Summarise(world.reasons[a]), "--no-cache");
  graph.steps[a].no_cache = false;
  Outcome third = world.Build(graph, {{b}});
  EXPECT_EQ(third.wanted[0].layers, second.wanted[0].layers);
  EXPECT_NE(third.wanted[0].layers, first.wanted[0].layers);
}

TEST_F(EngineTest, AFailedStepEndsTheBuildAndNamesItself) {
  auto base = AddImage(graph, "node");
  auto bad = AddRun(graph, "bad", base);
  auto after = AddRun(graph, "after", bad);
  world.failing = {"bad"};
  Outcome outcome = world.Build(graph, {{after}});
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, Code::kExec);
  EXPECT_EQ(outcome.failed_step, bad);
  EXPECT_EQ(outcome.steps[bad].status, StepStatus::kFailed);
  EXPECT_EQ(outcome.steps[after].status, StepStatus::kNotNeeded);
  EXPECT_TRUE(world.records.empty());
}

TEST_F(EngineTest, ABrokenCacheNeverFailsTheBuild) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  world.records_fail = true;
  EXPECT_FALSE(world.Build(graph, {{run}}).error);
  EXPECT_THAT(world.ran, ElementsAre("make"));
}

TEST_F(EngineTest, AnUnneededStageIsNotTouched) {
  auto base = AddImage(graph, "node");
  AddRun(graph, "unneeded", AddImage(graph, "missing image"));
  auto run = AddRun(graph, "make", base);
  EXPECT_FALSE(world.Build(graph, {{run}}).error);
  EXPECT_THAT(world.ran, ElementsAre("make"));
}

TEST_F(EngineTest, ANewBaseImageIsTheReason) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  world.Build(graph, {{run}});
  world.images["node"] = "node v2";
  world.Build(graph, {{run}});
  EXPECT_EQ(world.reasons[run][0].kind, Reason::Kind::kBase);
}

TEST_F(EngineTest, CancellingBeforeTheStartRunsNothing) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  std::stop_source stop;
  stop.request_stop();
  Outcome outcome = world.Build(graph, {{run}}, true, stop.get_token());
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, Code::kCancelled);
}

// Answers by name, with layers that are on this machine and a tree that shows when they are obtained.
class FakeImage final : public ResultMatcher {
 public:
  explicit FakeImage(FakeWorld& w) : world(w) {}
  std::vector<std::optional<Matched>> Match(const graph::Graph& graph, const std::vector<LookedUp>& steps,
                                            std::stop_token) override {
    std::vector<std::optional<Matched>> out(steps.size());
    for (size_t n = 0; n < steps.size(); ++n) {
      const std::string& name = graph.steps[steps[n].step].name;
      (steps[n].answered ? answered : asked).push_back(name);
      auto it = results.find(name);
      if (it == results.end() || steps[n].answered) continue;
      cache::StepRecord record = steps[n].record;
      record.outputs = {it->second};
      world.layers.insert(it->second.layers.begin(), it->second.layers.end());
      if (it->second.tree_root.empty()) world.without_tree[it->second.layers] = trees[name];
      out[n] = Matched{std::move(record), "image app"};
    }
    return out;
  }
  FakeWorld& world;
  std::map<std::string, cache::Rootfs> results;
  std::map<std::string, Digest> trees;
  std::vector<std::string> answered, asked;
};

TEST_F(EngineTest, AnImageAnswersWhatRecordsDoNot) {
  auto make = AddRun(graph, "make", AddImage(graph, "node"));
  auto test = AddRun(graph, "test", make);
  auto pack = AddRun(graph, "pack", test);
  ASSERT_FALSE(world.Build(graph, {{make}}).error);
  FakeImage image(world);
  world.matcher = &image;
  image.results[graph.steps[test].name] = {{DiffId(Digest::Of("node v1")), DiffId(Digest::Of("t"))}, tree::EmptyTree()};
  Outcome outcome = world.Build(graph, {{pack}});
  ASSERT_FALSE(outcome.error) << outcome.error->message;
  EXPECT_THAT(world.ran, ElementsAre("pack"));
  EXPECT_EQ(outcome.steps[test].tier, "image app");
  EXPECT_EQ(outcome.steps[make].tier, "");
  EXPECT_THAT(image.answered, ElementsAre(graph.steps[make].name));
  EXPECT_THAT(image.asked, UnorderedElementsAre(graph.steps[test].name, graph.steps[pack].name));
}

TEST_F(EngineTest, AResultWhoseTreeIsNotKnownIsObtainedBeforeItIsRead) {
  auto make = AddRun(graph, "make", AddImage(graph, "node"));
  auto copy = AddCopy(graph, "out", make, -1);
  Outcome outcome = world.Build(graph, {{make}});
  ASSERT_FALSE(outcome.error);
  FakeImage image(world);
  image.results[graph.steps[make].name] = {outcome.wanted[0].layers, Digest()};
  image.trees[graph.steps[make].name] = outcome.wanted[0].tree_root;
  world.records.clear();
  world.matcher = &image;
  outcome = world.Build(graph, {{copy}}, /*want_data=*/false);
  ASSERT_FALSE(outcome.error) << outcome.error->message;
  EXPECT_THAT(world.ran, ElementsAre("COPY out"));
}

TEST_F(EngineTest, DryRunSaysWhatWouldRun) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  Request request{.graph = graph, .wanted = {{run}}, .dry_run = true};
  Services services{world, world.trees, world, world, world, world, world.clock};
  Outcome outcome = Build(request, services, {});
  EXPECT_FALSE(outcome.error);
  EXPECT_EQ(outcome.forecast[run], Plan::Forecast::kRun);
  EXPECT_EQ(Summarise(outcome.steps[run].reasons), "never built here");
  EXPECT_EQ(world.pulls, 0);
  EXPECT_THAT(world.ran, IsEmpty());
}

// The other process was done, and had let go of the lock, before this one came to the step.
TEST_F(EngineTest, WhatAnotherProcessMadeSinceTheLookUpIsNotMadeAgain) {
  auto run = AddRun(graph, "test", AddRun(graph, "make", AddImage(graph, "node")));
  FakeWorld other(world.disk);
  other.images = world.images;
  bool first = true;
  world.between = [&] {
    if (!std::exchange(first, false)) return;
    ASSERT_FALSE(other.Build(graph, {{run}}).error);
  };
  Outcome outcome = world.Build(graph, {{run}});
  ASSERT_FALSE(outcome.error);
  EXPECT_THAT(other.ran, ElementsAre("make", "test"));
  EXPECT_THAT(world.ran, IsEmpty());
  EXPECT_EQ(outcome.totals.cached, 2);
}

// Two processes find the same record without its layers; the first has made it anew when the second
// comes to the step.
TEST_F(EngineTest, ARecordMadeAnewByAnotherProcessIsNotDropped) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  ASSERT_FALSE(world.Build(graph, {{run}}).error);
  world.layers.clear();
  FakeWorld other(world.disk);
  other.images = world.images;
  other.step_takes = std::chrono::milliseconds(1);
  world.between = [&] { ASSERT_FALSE(other.Build(graph, {{run}}).error); };
  ASSERT_FALSE(world.Build(graph, {{run}}).error);
  EXPECT_THAT(other.ran, ElementsAre("make"));
  EXPECT_THAT(world.ran, IsEmpty());
}

TEST_F(EngineTest, ALostTreeIsMadeAgainFromItsLayersAndNothingRuns) {
  auto a = AddRun(graph, "a", AddImage(graph, "node"));
  auto copy = AddCopy(graph, "out", a, -1);
  ASSERT_FALSE(world.Build(graph, {{copy}}).error);
  Outcome outcome = world.Build(graph, {{a}});
  ASSERT_FALSE(outcome.error);
  world.trees.Lose(outcome.wanted[0].tree_root);
  outcome = world.Build(graph, {{copy}});
  ASSERT_FALSE(outcome.error) << outcome.error->message;
  EXPECT_THAT(world.ran, IsEmpty());
}

// A record of an inline cache knows what a step gave besides the image, and nobody has it.
TEST_F(EngineTest, OutputsThatNothingIsMadeOfNeedNotBeHere) {
  auto a = AddRun(graph, "a", AddImage(graph, "node"));
  ASSERT_FALSE(world.Build(graph, {{a}}).error);
  world.ran.clear();
  ASSERT_EQ(world.records.size(), 1u);
  cache::StepRecord& record = world.records.begin()->second;
  record.outputs.push_back({{DiffId(Digest::Of("nowhere"))}, Digest::Of("tree")});
  Outcome outcome = world.Build(graph, {{a}});
  ASSERT_FALSE(outcome.error) << outcome.error->message;
  EXPECT_THAT(world.ran, IsEmpty());
  EXPECT_EQ(outcome.wanted[0].layers, record.outputs[0].layers);
  // Of the other one the step would have to be done again.
  outcome = world.Build(graph, {{a, 0}, {a, 1}});
  EXPECT_THAT(world.ran, ElementsAre("a"));
}

// The layers are gone as well. The copy's key cannot be made, so `a` must run again: `b`, which was about
// to run on it, waits.
TEST_F(EngineTest, ALostTreeHoldsBackWhatWasPlannedOnIt) {
  auto a = AddRun(graph, "a", AddImage(graph, "node"));
  auto b = AddRun(graph, "b", a);
  auto copy = AddCopy(graph, "out", a, -1);
  Outcome outcome = world.Build(graph, {{a}});
  ASSERT_FALSE(outcome.error);
  world.trees.Lose(outcome.wanted[0].tree_root);
  for (const DiffId& layer : outcome.wanted[0].layers) world.layers.erase(layer);
  outcome = world.Build(graph, {{b}, {copy}});
  ASSERT_FALSE(outcome.error) << outcome.error->message;
  EXPECT_THAT(world.ran, UnorderedElementsAre("a", "b", "COPY out"));
}

}  // namespace
}  // namespace varve::engine
