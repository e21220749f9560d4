// Several builds as one graph: what they share is resolved, looked up and run once. Services of Compose
// files and targets of bake files are built so.
//
// The parts are called in order, by one thread, as those of BuildJob. Errors name the part.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "job/build_job.h"

namespace varve::cli {

// What a part is called in messages, and hints that know where its flags were written.
struct Wording {
  std::string part;                // "service", "target"
  std::string missing_dockerfile;  // where the part says which Dockerfile it has
  std::string conflict;            // what to do when two parts cannot be built together
};

class JoinedJob {
 public:
  struct Part {
    std::string name;
    std::string image;  // its name
    job::BuildFlags flags;
    std::vector<std::pair<std::string, std::string>> links;  // named context, part
    std::vector<exporter::Output> outputs;
    std::unique_ptr<job::BuildJob> job;
    std::vector<graph::StepIndex> steps;  // of the joined graph
    size_t first_wanted = 0;              // of the run's wanted outputs
    std::string image_id;
    Json metadata;  // of --metadata-file
    std::vector<history::Image> images;
  };

  // All must outlive the job.
  JoinedJob(Wording wording, job::Workspace& workspace, progress::Board& board, std::stop_token stop)
      : wording_(std::move(wording)), workspace_(workspace), board_(board), stop_(std::move(stop)) {}

  // Its name, image, flags and links; in an order in which parts come after those that they take files
  // from.
  Status Add(Part part);

  // Opens contexts, parses, lowers, and joins the graphs. An error about a Dockerfile has been put
  // at its place when `failed()` is set.
  dockerfile::Parsed<void> Prepare();
  Result<engine::Outcome> Run(const std::string& project, const std::vector<job::AgeRule>& max_age,
                              engine::Observer& observer);
  // All images; the first that cannot be written ends it.
  Status Export(const engine::Outcome& outcome);
  // To each cache what the parts that name it were built from.
  Status ExportCaches(const engine::Outcome& outcome);
  void ExportFinished(const engine::Outcome& outcome);  // after a failed build, as BuildJob's
  std::string CacheSummary() { return tiers_ ? tiers_->Summary() : ""; }
  std::vector<history::TierUse> CacheUses() const { return tiers_ ? tiers_->Uses() : std::vector<history::TierUse>(); }

  const graph::Graph& graph() const { return graph_; }
  const std::vector<Part>& parts() const { return parts_; }
  // The part that Prepare() failed in.
  const Part* failed() const { return failed_; }
  // Those that a step belongs to.
  std::vector<const Part*> PartsOf(graph::StepIndex step) const;

 private:
  void WarnOfSharedFiles(const Part& part);
  dockerfile::Parsed<void> PrepareOne(Part& part);
  void NameSteps(Part& part);
  Status CollectRunnerOptions(exec::RunnerOptions& all);

  std::string NameOf(const Part& part) const { return wording_.part + " " + part.name; }
  using Shares = std::vector<std::pair<tier::Spec, engine::Outcome>>;
  Shares SharesOf(const engine::Outcome& outcome) const;
  job::BuiltSteps Built(const Shares& shares, const tier::Spec& spec) const;
  engine::Outcome OwnOutcome(const Part& part, const engine::Outcome& outcome) const;

  const Wording wording_;
  job::Workspace& workspace_;
  progress::Board& board_;
  std::stop_token stop_;
  std::vector<Part> parts_;
  graph::Graph graph_;
  const Part* failed_ = nullptr;
  std::unique_ptr<job::CacheTiers> tiers_;
  std::vector<source::ResolvedImage> images_;  // that Run resolved
};

}  // namespace varve::cli
