// Several services built as one graph: what they share is resolved, looked up and run once.
//
// The parts are called in order, by one thread, as those of BuildJob. Errors name the service.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/build_job.h"
#include "cli/compose_flags.h"

namespace varve::cli {

class ComposeJob {
 public:
  struct Part {
    std::string service;
    std::string image;  // its name
    BuildFlags flags;
    std::vector<std::pair<std::string, std::string>> services;  // named context, service
    std::vector<exporter::Output> outputs;
    std::unique_ptr<BuildJob> job;
    std::vector<graph::StepIndex> steps;  // of the joined graph
    size_t first_wanted = 0;              // of the run's wanted outputs
    std::string image_id;
  };

  // All must outlive the job.
  ComposeJob(Workspace& workspace, progress::Board& board, std::stop_token stop)
      : workspace_(workspace), board_(board), stop_(std::move(stop)) {}

  // In an order in which services come after those that they take files from.
  Status Add(std::string service, ServiceFlags flags, std::string image);

  // Opens contexts, parses, lowers, and joins the graphs. An error about a Dockerfile has been put
  // at its place when `failed()` is set.
  dockerfile::Parsed<void> Prepare();
  Result<engine::Outcome> Run(const std::string& project, const std::vector<AgeRule>& max_age,
                              engine::Observer& observer);
  // All images; the first that cannot be written ends it.
  Status Export(const engine::Outcome& outcome);

  const graph::Graph& graph() const { return graph_; }
  const std::vector<Part>& parts() const { return parts_; }
  // The part that Prepare() failed in.
  const Part* failed() const { return failed_; }
  // Those that a step belongs to.
  std::vector<const Part*> PartsOf(graph::StepIndex step) const;

 private:
  dockerfile::Parsed<void> PrepareOne(Part& part);
  void NameSteps(Part& part);
  Status CollectRunnerOptions(exec::RunnerOptions& all);

  Workspace& workspace_;
  progress::Board& board_;
  std::stop_token stop_;
  std::vector<Part> parts_;
  graph::Graph graph_;
  const Part* failed_ = nullptr;
};

}  // namespace varve::cli
