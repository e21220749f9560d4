// Keys and plans: pure functions, whose time must grow with the number of steps and no faster.
#include <benchmark/benchmark.h>

#include "engine/keys.h"
#include "engine/plan.h"

namespace varve::engine {
namespace {

graph::Step Run(const std::string& command, graph::StepIndex base) {
  graph::Exec exec{.args = {"/bin/sh", "-c", command},
                   .mounts = {graph::Mount{.target = "/", .input = 0, .output = 0}}};
  for (int i = 0; i < 10; ++i) exec.env.push_back(fmt::format("NAME_{}=some value of it", i));
  return {.op = exec, .inputs = {{base}}, .name = "RUN " + command};
}

// FROM, then `steps` of RUN, each on the one before.
graph::Graph Chain(int64_t steps) {
  graph::Graph graph;
  graph.Add({.op = graph::ImageSource{.reference = "base"}, .name = "FROM base"});
  for (int64_t i = 0; i < steps; ++i) {
    graph.Add(Run(fmt::format("make part-{}", i), static_cast<graph::StepIndex>(i)));
  }
  return graph;
}

void KeyOfARun(benchmark::State& state) {
  graph::Step step = Run("make install", 0);
  tree::MemoryTreeStore trees;
  std::vector<InputFact> facts = {{.name = "base", .key = StepKey(Digest::Of("parent"))}};
  for (auto _ : state) {
    auto keyed = ComputeKey(step, facts, trees, "");
    if (!keyed || !*keyed) state.SkipWithError("no key");
  }
}
BENCHMARK(KeyOfARun);

// COPY src of a context with that many files in it.
void KeyOfACopy(benchmark::State& state) {
  tree::MemoryTreeStore trees;
  tree::TreeEditor edit(trees, tree::EmptyTree());
  for (int64_t i = 0; i < state.range(0); ++i) {
    tree::Node file{.type = tree::NodeType::kFile, .mode = 0644, .size = 1, .digest = Digest::Of("x")};
    if (!edit.Put(RelPath(fmt::format("src/p{}/m{}.js", i / 11, i)), file)) state.SkipWithError("put");
  }
  graph::FileOp op;
  op.actions.push_back(graph::Copy{.input = 0, .from = {.path = "src"}, .dest = "/"});
  graph::Step step{.op = op, .inputs = {{0}}, .name = "COPY src"};
  std::vector<InputFact> facts = {{.name = "context", .tree_root = edit.Commit().value()}};
  for (auto _ : state) {
    auto keyed = ComputeKey(step, facts, trees, "");
    if (!keyed || !*keyed) state.SkipWithError("no key");
  }
}
BENCHMARK(KeyOfACopy)->Arg(10)->Arg(10'000);

// All look-ups miss, everything runs.
void PlanChain(benchmark::State& state) {
  graph::Graph graph = Chain(state.range(0));
  const graph::Ref last{static_cast<graph::StepIndex>(graph.steps.size() - 1)};
  const cache::Rootfs result{{DiffId(Digest::Of("layer"))}, Digest::Of("tree")};
  std::vector<StepKey> keys;
  for (size_t i = 0; i < graph.steps.size(); ++i) keys.emplace_back(Digest::Of(std::to_string(i)));
  for (auto _ : state) {
    Plan plan(graph, {last}, true);
    while (!plan.Done()) {
      Plan::Actions actions = plan.Next();
      if (actions.empty()) {
        state.SkipWithError("the plan stands still");
        return;
      }
      for (auto step : actions.resolve) plan.OnPin(step, result, true, true);
      for (auto step : actions.key) plan.OnKey(step, keys[step]);
      for (auto step : actions.look_up) plan.OnLookUp(step, {}, false);
      for (auto step : actions.obtain) plan.OnObtained(step, {result});
      for (auto step : actions.run) plan.OnRan(step, {result});
    }
  }
  state.SetComplexityN(state.range(0));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(PlanChain)->Arg(100)->Arg(1000)->Arg(10'000)->Unit(benchmark::kMillisecond)->Complexity();

}  // namespace
}  // namespace varve::engine
