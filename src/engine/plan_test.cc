#include "engine/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

cache::Rootfs Root(const std::string& text) { return {{DiffId(Digest::Of(text))}, Digest::Of("tree " + text)}; }

class PlanTest : public ::testing::Test {
 protected:
  StepKey KeyFor(const std::string& text) { return StepKey(Digest::Of(text)); }
  graph::Graph graph;
};

TEST_F(PlanTest, KeysOfAChainFollowWithoutAnyResult) {
  auto image = AddImage(graph, "i");
  auto a = AddRun(graph, "a", image);
  auto b = AddRun(graph, "b", a);
  Plan plan(graph, {{b}}, true);
  EXPECT_THAT(plan.Next().resolve, ElementsAre(image));
  EXPECT_TRUE(plan.Next().empty());
  plan.OnPin(image, Root("i"), true, false);
  EXPECT_THAT(plan.Next().key, ElementsAre(a));
  plan.OnKey(a, KeyFor("a"));
  auto actions = plan.Next();
  EXPECT_THAT(actions.key, ElementsAre(b));
  EXPECT_THAT(actions.look_up, ElementsAre(a));
}

TEST_F(PlanTest, AHitAtTheEndStopsTheWalk) {
  auto image = AddImage(graph, "i");
  auto a = AddRun(graph, "a", image);
  auto b = AddRun(graph, "b", a);
  Plan plan(graph, {{b}}, true);
  plan.Next();
  plan.OnPin(image, Root("i"), true, false);
  plan.Next();
  plan.OnKey(a, KeyFor("a"));
  plan.Next();
  plan.OnKey(b, KeyFor("b"));
  EXPECT_THAT(plan.Next().look_up, ElementsAre(b));
  plan.OnLookUp(a, {}, false);
  plan.OnLookUp(b, {{Root("b")}}, true);
  EXPECT_TRUE(plan.Next().empty());
  EXPECT_TRUE(plan.Done());
}

TEST_F(PlanTest, AMissedParentRunsWhileTheChildWaitsForItsKey) {
  auto image = AddImage(graph, "i");
  auto builder = AddRun(graph, "compile", image, "b");
  auto apt = AddRun(graph, "apt", image);
  auto copy = AddCopy(graph, "out", builder, static_cast<int>(apt));
  Plan plan(graph, {{copy}}, true);
  plan.Next();
  plan.OnPin(image, Root("i"), true, true);
  EXPECT_THAT(plan.Next().key, ElementsAre(builder, apt));
  plan.OnKey(builder, KeyFor("compile"));
  plan.OnKey(apt, KeyFor("apt"));
  EXPECT_THAT(plan.Next().look_up, ElementsAre(builder, apt));
  plan.OnLookUp(builder, {}, false);
  plan.OnLookUp(apt, {}, false);
  EXPECT_THAT(plan.Next().run, ElementsAre(builder, apt));
}

TEST_F(PlanTest, AKnownParentIsNotObtainedUntilAStepRunsOnIt) {
  auto image = AddImage(graph, "i");
  auto run = AddRun(graph, "a", image);
  Plan plan(graph, {{run}}, true);
  plan.Next();
  plan.OnPin(image, Root("i"), true, false);
  plan.Next();
  plan.OnKey(run, KeyFor("a"));
  EXPECT_THAT(plan.Next().obtain, IsEmpty());
  plan.OnLookUp(run, {}, false);
  EXPECT_THAT(plan.Next().obtain, ElementsAre(image));
  plan.OnObtained(image, {Root("i")});
  EXPECT_THAT(plan.Next().run, ElementsAre(run));
}

TEST_F(PlanTest, DataThatIsGoneTwiceIsRefused) {
  auto image = AddImage(graph, "i");
  auto run = AddRun(graph, "a", image);
  Plan plan(graph, {{run}}, true);
  plan.Next();
  plan.OnPin(image, Root("i"), true, true);
  plan.Next();
  plan.OnKey(run, KeyFor("a"));
  plan.Next();
  plan.OnLookUp(run, {{Root("a")}}, false);
  EXPECT_THAT(plan.Next().obtain, ElementsAre(run));
  EXPECT_TRUE(plan.OnDataGone(run));
  EXPECT_THAT(plan.Next().run, ElementsAre(run));
  EXPECT_FALSE(plan.OnDataGone(run));
}

// Once the record of a key is dropped, the one that is made anew is good.
TEST_F(PlanTest, DataThatIsGoneIsGoneForAllStepsOfTheKey) {
  auto image = AddImage(graph, "i");
  auto a = AddRun(graph, "x", image, "a");
  auto b = AddRun(graph, "x", image, "b");
  auto reader = AddCopy(graph, "out", b, static_cast<int>(image));
  Plan plan(graph, {{a}, {b}, {reader}}, true);
  plan.Next();
  plan.OnPin(image, Root("i"), true, true);
  plan.Next();
  plan.OnKey(a, KeyFor("x"));
  plan.OnKey(b, KeyFor("x"));
  plan.Next();
  plan.OnLookUp(a, {{Root("old")}}, false);
  plan.OnLookUp(b, {{Root("old")}}, false);
  auto actions = plan.Next();
  ASSERT_EQ(actions.obtain.size(), 1u);
  ASSERT_THAT(actions.key, ElementsAre(reader));
  plan.OnKey(reader, KeyFor("reads old"));
  auto other = actions.obtain[0] == a ? b : a;
  EXPECT_TRUE(plan.OnDataGone(actions.obtain[0]));
  actions = plan.Next();
  EXPECT_THAT(actions.obtain, IsEmpty());
  ASSERT_EQ(actions.run.size(), 1u);
  plan.Withdraw(reader);
  EXPECT_THAT(plan.OnRan(actions.run[0], {Root("new")}), ElementsAre(actions.run[0] == a ? b : a));
  EXPECT_EQ(plan.Outputs(other)->front(), Root("new"));
  EXPECT_THAT(plan.Next().key, ElementsAre(reader)) << "what reads it is keyed by the new result";
}

TEST_F(PlanTest, AWithdrawnActionComesAgain) {
  auto image = AddImage(graph, "i");
  auto run = AddRun(graph, "a", image);
  Plan plan(graph, {{run}}, true);
  plan.Next();
  plan.OnPin(image, Root("i"), true, true);
  plan.Next();
  plan.OnKey(run, KeyFor("a"));
  ASSERT_THAT(plan.Next().look_up, ElementsAre(run));
  plan.Withdraw(run);
  ASSERT_THAT(plan.Next().look_up, ElementsAre(run));
  plan.OnLookUp(run, {}, false);
  ASSERT_THAT(plan.Next().run, ElementsAre(run));
  plan.Withdraw(run);
  EXPECT_THAT(plan.Next().run, ElementsAre(run));
}

TEST_F(PlanTest, EqualKeysShareOneRun) {
  auto image = AddImage(graph, "i");
  auto a = AddRun(graph, "x", image, "a");
  auto b = AddRun(graph, "x", image, "b");
  Plan plan(graph, {{a}, {b}}, true);
  plan.Next();
  plan.OnPin(image, Root("i"), true, true);
  plan.Next();
  plan.OnKey(a, KeyFor("x"));
  plan.OnKey(b, KeyFor("x"));
  plan.Next();
  plan.OnLookUp(a, {}, false);
  plan.OnLookUp(b, {}, false);
  auto run = plan.Next().run;
  ASSERT_EQ(run.size(), 1u);
  auto other = run[0] == a ? b : a;
  EXPECT_THAT(plan.OnRan(run[0], {Root("x")}), ElementsAre(other));
  EXPECT_TRUE(plan.Done());
}

TEST_F(PlanTest, NoCacheIsInheritedThroughLineage) {
  auto image = AddImage(graph, "i");
  auto a = AddRun(graph, "a", image);
  auto b = AddRun(graph, "b", a);
  graph.steps[a].no_cache = true;
  Plan plan(graph, {{b}}, true);
  EXPECT_TRUE(plan.NoCache(b));
  EXPECT_FALSE(plan.NoCache(image));
}

}  // namespace
}  // namespace varve::engine
