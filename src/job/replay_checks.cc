#include "job/replay_checks.h"

#include <utility>

namespace varve::job {

void ReplayChecks::Start(Work work) {
  Wait();
  if (work) thread_ = std::jthread([this, work = std::move(work)] { results_ = work(); });
}

void ReplayChecks::Wait() {
  if (thread_.joinable()) thread_.join();
}

void ReplayChecks::Finish(const graph::Graph& graph, engine::Outcome& outcome, progress::Board& board) {
  Wait();
  const auto results = std::exchange(results_, {});
  engine::NoteShadows(results, outcome.steps);
  for (const engine::ShadowResult& result : results) {
    if (!result.differs) continue;
    board.Warn({.text = fmt::format("\"{}\" was replayed, but {}. It is not replayed any more on this machine; this "
                                    "build's result has the replayed layer",
                                    graph.steps[result.step].name, result.text)});
  }
}

}  // namespace varve::job
