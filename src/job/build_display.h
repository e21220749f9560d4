// What the user sees of a build: the progress display, and the engine's events on it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/interfaces.h"
#include "graph/graph.h"
#include "job/build_flags.h"
#include "progress/board.h"

namespace varve::job {

// A board on stderr in the asked-for mode; `auto` is tty on a terminal, else plain.
std::unique_ptr<progress::Board> MakeBoard(const BuildFlags& flags);

// One vertex of a board as a sink.
class VertexSink final : public engine::StepSink {
 public:
  VertexSink(progress::Board& board, uint32_t vertex) : board_(board), vertex_(vertex) {}
  void Log(int stream, std::string_view data) override { board_.Log(vertex_, stream, data); }
  void Progress(const std::string& id, uint64_t current, uint64_t total, bool done) override {
    board_.Progress(vertex_, id, current, total, done);
  }
  uint32_t vertex() const { return vertex_; }

 private:
  progress::Board& board_;
  uint32_t vertex_;
};

// Work that is not a step (loading metadata, exporting): starts a vertex, ends it with the status.
template <class F>
auto Shown(progress::Board& board, const std::string& name, F&& work) {
  uint32_t vertex = board.Add(name);
  board.Start(vertex);
  VertexSink sink(board, vertex);
  auto result = work(sink);
  board.Finish(vertex, {.cancelled = !result && result.error().code == Code::kCancelled,
                        .error = result ? "" : result.error().message});
  return result;
}

class BoardObserver : public engine::Observer {
 public:
  BoardObserver(progress::Board& board, const graph::Graph& graph);
  void Started(graph::StepIndex step) override;
  void Explained(graph::StepIndex step, const std::vector<engine::Reason>& reasons) override;
  void Finished(graph::StepIndex step, const engine::StepOutcome& outcome, const Error* error) override;
  engine::StepSink& SinkOf(graph::StepIndex step) override { return *sinks_[step]; }
  uint32_t VertexOf(graph::StepIndex step) const { return sinks_[step]->vertex(); }

 private:
  progress::Board& board_;
  std::vector<std::unique_ptr<VertexSink>> sinks_;
};

}  // namespace varve::job
