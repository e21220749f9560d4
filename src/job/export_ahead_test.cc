#include "job/export_ahead.h"

#include <gmock/gmock.h>

#include <latch>
#include <map>

#include "graph/graph.h"

namespace varve::job {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

StepKey Key(int step) { return StepKey(Digest::Of("key " + std::to_string(step))); }
DiffId Layer(int step) { return DiffId(Digest::Of("layer " + std::to_string(step))); }

// Holds each layer until it is let go.
class HeldTier final : public tier::Tier {
 public:
  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>&, tree::TreeStore&,
                                                                std::stop_token) override {
    return std::vector<std::optional<cache::StepRecord>>();
  }
  std::vector<cache::StepRecord> Earlier(const std::string&, const Digest&, size_t) override { return {}; }
  Result<std::optional<oci::Descriptor>> FindLayer(const DiffId&, std::stop_token) override { return std::nullopt; }
  Status Fetch(const oci::Descriptor&, Writer&, std::stop_token) override { return Ok(); }
  Status Export(const tier::Offer&, const OnProgress&, std::stop_token) override { return Ok(); }
  tier::Traffic traffic() override { return {}; }
  std::vector<std::string> TakeNotices() override { return {}; }

  Result<bool> SendAhead(const tier::Offer&, const DiffId& layer, std::stop_token) override {
    auto state = state_.Lock();
    state->begun.push_back(layer);
    changed_.notify_all();
    state.Wait(changed_, [&] { return state->open; });
    if (state->failure) return *state->failure;
    return true;
  }
  void WaitUntilBegun(size_t count) {
    auto state = state_.Lock();
    state.Wait(changed_, [&] { return state->begun.size() >= count; });
  }
  void LetGo(std::optional<Error> failure = std::nullopt) {
    auto state = state_.Lock();
    state->open = true;
    state->failure = std::move(failure);
    changed_.notify_all();
  }
  std::vector<DiffId> begun() { return state_.Lock()->begun; }

 private:
  struct State {
    std::vector<DiffId> begun;
    bool open = false;
    std::optional<Error> failure;
  };
  Guarded<State> state_;
  std::condition_variable changed_;
};

// A chain of steps, each of which adds a layer to those below.
class ExportAheadTest : public ::testing::Test {
 protected:
  std::unique_ptr<ExportAhead> Start(std::vector<char> steps = std::vector<char>(8, true)) {
    ExportAhead::Sources sources;
    sources.layers_of = [](const StepKey& key) {
      std::vector<DiffId> layers;
      for (int step = 0; step < 8; ++step) {
        layers.push_back(Layer(step));
        if (Key(step) == key) break;
      }
      return layers;
    };
    sources.is_here = [this](const DiffId& layer) { return !elsewhere_.contains(layer); };
    std::vector<ExportAhead::Place> places;
    places.push_back({.tier = tier_, .terms = {}, .steps = std::move(steps), .failed = [this] { return failed_; }});
    return std::make_unique<ExportAhead>(std::move(places), std::move(sources), SystemClock(), std::stop_token());
  }
  std::shared_ptr<HeldTier> tier_ = std::make_shared<HeldTier>();
  std::set<DiffId> elsewhere_;
  bool failed_ = false;
};

TEST_F(ExportAheadTest, ALayerIsOnItsWayBeforeTheNextStepEnds) {
  auto ahead = Start();
  ahead->Done(0, Key(0), true);
  tier_->WaitUntilBegun(1);  // else for ever
  ahead->Done(1, Key(1), true);
  tier_->WaitUntilBegun(2);
  tier_->LetGo();
  ahead->Close();
  EXPECT_THAT(ahead->End(0).layers, UnorderedElementsAre(Layer(0), Layer(1)));
}

TEST_F(ExportAheadTest, ABuildThatOnlyHitsSendsNothing) {
  auto ahead = Start();
  ahead->Done(0, Key(0), false);
  ahead->Done(1, Key(1), false);
  ahead->Close();
  EXPECT_TRUE(ahead->End(0).layers.empty());
  EXPECT_TRUE(tier_->begun().empty());
}

TEST_F(ExportAheadTest, HitsBelowAStepThatRanGoToo) {
  tier_->LetGo();
  auto ahead = Start();
  ahead->Done(0, Key(0), false);
  ahead->Done(1, Key(1), true);
  tier_->WaitUntilBegun(2);
  ahead->Close();
  EXPECT_THAT(ahead->End(0).layers, UnorderedElementsAre(Layer(0), Layer(1)));
}

TEST_F(ExportAheadTest, TheFirstLayerGoesHoweverSoonTheBuildEnds) {
  tier_->LetGo();
  auto ahead = Start();
  ahead->Done(0, Key(0), true);
  ahead->Close();
  EXPECT_THAT(ahead->End(0).layers, ElementsAre(Layer(0)));
}

TEST_F(ExportAheadTest, WhatWasNotBegunIsLeftToTheExport) {
  auto ahead = Start();
  ahead->Done(5, Key(5), true);
  tier_->WaitUntilBegun(2);
  ahead->Close();
  tier_->LetGo();
  EXPECT_EQ(ahead->End(0).layers.size(), 2u);
  EXPECT_THAT(tier_->begun(), UnorderedElementsAre(Layer(0), Layer(1)));
}

TEST_F(ExportAheadTest, LayersThatAreNotHereAreLeftToTheExport) {
  elsewhere_ = {Layer(0)};
  tier_->LetGo();
  auto ahead = Start();
  ahead->Done(1, Key(1), true);
  ahead->Close();
  EXPECT_THAT(ahead->End(0).layers, ElementsAre(Layer(1)));
}

TEST_F(ExportAheadTest, StepsThatThePlaceMayNotGetAreLeftToTheExport) {
  tier_->LetGo();
  auto ahead = Start({true, false, false, false, false, false, false, false});
  ahead->Done(0, Key(0), true);
  ahead->Done(1, Key(1), true);
  ahead->Close();
  EXPECT_THAT(ahead->End(0).layers, ElementsAre(Layer(0)));
}

TEST_F(ExportAheadTest, ATierThatFailsIsNotSentToAgain) {
  tier_->LetGo(Unavailable("it is down"));
  auto ahead = Start();
  ahead->Done(0, Key(0), true);
  tier_->WaitUntilBegun(1);
  ahead->Close();
  auto sent = ahead->End(0);
  ASSERT_TRUE(sent.failure);
  EXPECT_EQ(sent.failure->message, "it is down");
  EXPECT_TRUE(sent.layers.empty());
  EXPECT_EQ(tier_->begun().size(), 1u);
}

TEST_F(ExportAheadTest, ATierThatFailedWhenItWasReadIsNotSentTo) {
  tier_->LetGo();
  failed_ = true;
  auto ahead = Start();
  ahead->Done(0, Key(0), true);
  ahead->Close();
  EXPECT_TRUE(ahead->End(0).layers.empty());
  EXPECT_TRUE(tier_->begun().empty());
}

// --- Which steps a result is made of -----------------------------------------------------------------

graph::StepIndex AddStep(graph::Graph& graph, graph::Op op, std::vector<graph::StepIndex> inputs) {
  graph::Step step{.op = std::move(op)};
  for (graph::StepIndex input : inputs) step.inputs.push_back({input, 0});
  return graph.Add(std::move(step));
}

graph::Exec RunOn(std::vector<int> outputs) {
  graph::Exec exec;
  for (size_t i = 0; i < outputs.size(); ++i) {
    exec.mounts.push_back({.target = i == 0 ? "/" : "/other", .input = static_cast<int>(i), .output = outputs[i]});
  }
  return exec;
}

TEST(StepsOfResult, AreThoseThatItWasWrittenOn) {
  graph::Graph graph;
  auto base = AddStep(graph, graph::ImageSource{}, {});
  auto build = AddStep(graph, RunOn({0}), {base});
  auto runtime = AddStep(graph, RunOn({0}), {base});
  graph::FileOp copy{.base = 0, .actions = {graph::Copy{.input = 1}}};
  auto result = AddStep(graph, copy, {runtime, build});
  auto unused = AddStep(graph, RunOn({0}), {result});
  auto steps = StepsOfResult(graph, {{result, 0}});
  EXPECT_TRUE(steps[result] && steps[runtime] && steps[base]);
  EXPECT_FALSE(steps[build]) << "its files are copied, its layers are not of the result";
  EXPECT_FALSE(steps[unused]);
}

TEST(StepsOfResult, OfAMergeAreAllThatAreMerged) {
  graph::Graph graph;
  auto a = AddStep(graph, graph::ImageSource{}, {});
  auto b = AddStep(graph, RunOn({0}), {a});
  auto merged = AddStep(graph, graph::Merge{}, {a, b});
  auto steps = StepsOfResult(graph, {{merged, 0}});
  EXPECT_TRUE(steps[a] && steps[b]);
}

TEST(StepsOfResult, ADifferenceHasNoLayersFromBelow) {
  graph::Graph graph;
  auto a = AddStep(graph, graph::ImageSource{}, {});
  auto b = AddStep(graph, RunOn({0}), {a});
  auto difference = AddStep(graph, graph::Diff{}, {a, b});
  auto steps = StepsOfResult(graph, {{difference, 0}});
  EXPECT_TRUE(steps[difference]);
  EXPECT_FALSE(steps[b]);
}

TEST(StepsOfResult, OfAProcessWithSeveralResultsNothingIsTold) {
  graph::Graph graph;
  auto a = AddStep(graph, graph::ImageSource{}, {});
  auto b = AddStep(graph, graph::ImageSource{}, {});
  auto both = AddStep(graph, RunOn({0, 1}), {a, b});
  auto steps = StepsOfResult(graph, {{both, 0}});
  EXPECT_FALSE(steps[both] || steps[a] || steps[b]);
}

}  // namespace
}  // namespace varve::job
