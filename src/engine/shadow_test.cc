#include "engine/shadow.h"

#include <gmock/gmock.h>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

using testing::HasSubstr;

struct ShadowTest : testing::Test {
  ShadowTest() {
    world_.images["base"] = "1";
    image_ = AddImage(graph_, "base");
    step_ = AddRun(graph_, "make", image_);
    Outcome built = world_.Build(graph_, {{step_}});
    EXPECT_FALSE(built.error);
    key_ = built.steps[step_].key;
    replayed_ = built.wanted[0];
    world_.ran.clear();
  }

  std::vector<ShadowResult> Check(std::stop_token stop = {}) {
    RunRequest request{.graph = graph_, .step = step_, .key = key_, .inputs = {}, .similar = {}};
    DiffId base(Digest::Of("1"));
    request.inputs.push_back({image_, true, {{base}, *FakeWorld::ImageTree(world_.trees, base)}});
    std::vector<ShadowRun> shadows;
    shadows.push_back({request, Digest::Of("weak"), replayed_});
    return RunShadows(shadows, {world_, world_.trees, world_}, stop);
  }

  FakeWorld world_;
  graph::Graph graph_;
  graph::StepIndex image_ = 0, step_ = 0;
  StepKey key_;
  cache::Rootfs replayed_;
};

TEST_F(ShadowTest, AReplayThatIsConfirmedStays) {
  auto results = Check();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_FALSE(results[0].differs);
  EXPECT_EQ(world_.ran, std::vector<std::string>{"make"});
  EXPECT_TRUE(world_.disowned.empty());
  EXPECT_TRUE(world_.records.contains(key_));
  std::vector<StepOutcome> steps(2);
  NoteShadows(results, steps);
  EXPECT_EQ(steps[step_].shadow, "run for real, it gave the same");
}

TEST_F(ShadowTest, OneThatGivesSomethingElseIsDisownedAndItsRecordGoes) {
  world_.unstable = {"make"};
  auto results = Check();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(results[0].differs);
  EXPECT_THAT(results[0].text, HasSubstr("/out/make: content changed"));
  EXPECT_THAT(world_.disowned[Digest::Of("weak")], HasSubstr("/out/make: content changed"));
  EXPECT_FALSE(world_.records.contains(key_));
}

TEST_F(ShadowTest, AStepThatFailsNowIsAnother) {
  world_.failing = {"make"};
  EXPECT_THAT(Check()[0].text, HasSubstr("it failed: make failed"));
  EXPECT_FALSE(world_.records.contains(key_));
}

TEST_F(ShadowTest, KeysAreSampledByTheirShare) {
  int sampled = 0;
  for (int i = 0; i < 1000; ++i) sampled += IsSampled(StepKey(Digest::Of(std::to_string(i))), 10);
  EXPECT_GT(sampled, 60);
  EXPECT_LT(sampled, 150);
  EXPECT_FALSE(IsSampled(key_, 0));
  EXPECT_TRUE(IsSampled(key_, 100));
}

}  // namespace
}  // namespace varve::engine
