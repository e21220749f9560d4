// `varve cache warm`: what builds would find cached is brought to a tier, or without one to the local store.
// Nothing is built: what is nowhere stays so, and is said.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/build_flag_parser.h"
#include "cli/command.h"
#include "cli/warm_plans.h"
#include "job/build_flags.h"
#include "job/build_job.h"
#include "job/workspace.h"
#include "progress/board.h"
#include "tier/spec.h"

namespace CLI {
class App;
}

namespace varve::cli {

class CacheWarm {
 public:
  // The flags of `varve build`, of which --file and --target may be given several times, and contexts too; or
  // the targets of a bake file, or the services of a Compose file.
  void Define(CLI::App& app);
  Status Check();
  // The exit code: 1 where something of the plans is nowhere, or could not be moved.
  int Run(const job::GlobalFlags& global);

 private:
  // What became of one.
  struct Warmed {
    size_t steps = 0;                        // whose results are there now
    std::vector<std::string> not_built;      // steps that a build would run
    std::vector<std::string> without_layer;  // steps whose records are known, and their layers nowhere
    std::string caches;                      // a line per tier
  };
  Status MakePlans(const job::BuildFlags& flags);
  // Of a bake or Compose file: what the command line says of caches and platforms wins.
  Status ReadPlans(const job::GlobalFlags& global);
  // Plans link to the jobs of earlier ones, by part.
  using Jobs = std::map<std::string, std::unique_ptr<job::BuildJob>>;
  Result<Warmed> Warm(const WarmPlan& plan, Jobs& jobs, progress::Board& board, job::Workspace& workspace,
                      std::stop_token stop);

  BuildFlagParser parser_;
  std::string tier_;
  std::vector<std::string> contexts_, files_, targets_;
  std::vector<std::string> bake_files_, compose_files_;
  job::BuildFlags flags_;  // of the command line
  std::optional<tier::Spec> to_;
  std::vector<WarmPlan> plans_;
  std::vector<std::unique_ptr<progress::Board>> boards_;  // one a plan, as long as its job
};

}  // namespace varve::cli
