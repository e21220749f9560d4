// Runs that check replays (--trace-shadow, engine/shadow.h), beside what else is done with their build.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "engine/shadow.h"
#include "progress/board.h"

namespace varve::job {

// Used by one thread. Waits for them at its end.
class ReplayChecks {
 public:
  using Work = std::function<std::vector<engine::ShadowResult>()>;

  // Empty: there is none. What it uses is there until the next Wait or Finish.
  void Start(Work work);
  bool running() const { return thread_.joinable(); }
  void Wait();
  // Waits, and tells of them: in the outcome, and to the user where a step gave something else.
  void Finish(const graph::Graph& graph, engine::Outcome& outcome, progress::Board& board);

 private:
  std::vector<engine::ShadowResult> results_;  // once the thread has ended
  std::jthread thread_;
};

}  // namespace varve::job
