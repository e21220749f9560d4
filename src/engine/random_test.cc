// Random graphs, random edits, random losses, and steps that never give the same twice: no record may
// ever hold what its key does not say. (torture_test.cc compares builds whose steps do give the same.)
#include <gtest/gtest.h>

#include <random>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

class RandomBuilds {
 public:
  explicit RandomBuilds(unsigned seed) : random_(seed) {
    world.images = {{"i0", "image 0"}, {"i1", "image 1"}};
    world.sources["context"] = {{"a/x", "1"}, {"a/y", "1"}, {"b", "1"}, {"c", "1"}};
    MakeGraph();
  }

  void EditAFile() {
    auto& files = world.sources["context"];
    auto it = files.begin();
    std::advance(it, Pick(files.size()));
    it->second = std::to_string(Pick(3));
  }
  void LoseThings() {
    std::erase_if(world.records, [&](auto&) { return Pick(5) == 0; });
    std::erase_if(world.layers, [&](auto&) { return Pick(5) == 0; });
  }
  void MakeSomeUnstable() {
    for (const auto& step : graph.steps) {
      const auto* exec = std::get_if<graph::Exec>(&step.op);
      if (exec && Pick(3) == 0) world.unstable.insert(exec->args.back());
    }
  }

  size_t Pick(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  FakeWorld world;
  graph::Graph graph;

 private:
  void MakeGraph() {
    auto context = AddContext(graph);
    std::vector<graph::StepIndex> results = {AddImage(graph, "i0"), AddImage(graph, "i1")};
    std::vector<graph::StepIndex> made;
    for (size_t n = 5 + Pick(15); n > 0; --n) {
      auto base = results[Pick(results.size())];
      graph::StepIndex step;
      switch (Pick(4)) {
        case 0:
          step = AddCopy(graph, Pick(2) ? "a" : "b", context, Pick(3) ? static_cast<int>(base) : -1);
          break;
        case 1:
          if (!made.empty()) {
            step = AddCopy(graph, "out", made[Pick(made.size())], static_cast<int>(base));
            break;
          }
          [[fallthrough]];
        default:
          step = AddRun(graph, "c" + std::to_string(Pick(6)), base);
      }
      results.push_back(step);
      made.push_back(step);
    }
  }

  std::mt19937 random_;
};

TEST(RandomBuilds, UnstableStepsNeverPutWrongContentUnderAKey) {
  for (unsigned seed = 1000; seed < 1300; ++seed) {
    RandomBuilds builds(seed);
    builds.MakeSomeUnstable();
    auto last = static_cast<graph::StepIndex>(builds.graph.steps.size() - 1);
    for (int round = 0; round < 6; ++round) {
      Outcome outcome = builds.world.Build(builds.graph, {{last}});
      ASSERT_FALSE(outcome.error) << "seed " << seed << ": " << outcome.error->message;
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
      builds.EditAFile();
      builds.LoseThings();
    }
  }
}

TEST(RandomBuilds, AnUnchangedBuildRunsNothing) {
  for (unsigned seed = 2000; seed < 2200; ++seed) {
    RandomBuilds builds(seed);
    builds.MakeSomeUnstable();
    auto last = static_cast<graph::StepIndex>(builds.graph.steps.size() - 1);
    ASSERT_FALSE(builds.world.Build(builds.graph, {{last}}).error);
    ASSERT_FALSE(builds.world.Build(builds.graph, {{last}}).error);
    EXPECT_TRUE(builds.world.ran.empty()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace varve::engine
