// `varve cache warm`: what builds would find cached is brought to a tier, or without one to the local store.
// Nothing is built: what is nowhere stays so, and is said.
#pragma once

#include <string>
#include <vector>

#include "cli/build_flags.h"
#include "cli/command.h"
#include "cli/workspace.h"
#include "progress/board.h"
#include "tier/spec.h"

namespace CLI {
class App;
}

namespace varve::cli {

class CacheWarm {
 public:
  // The flags of `varve build`, of which --file and --target may be given several times, and contexts too.
  void Define(CLI::App& app);
  Status Check();
  // The exit code: 1 where something of the plans is nowhere, or could not be moved.
  int Run(const GlobalFlags& global);

 private:
  // One Dockerfile and target, for all platforms.
  struct Plan {
    std::string name;  // for people
    BuildFlags flags;
  };
  // What became of one.
  struct Warmed {
    size_t steps = 0;                         // whose results are there now
    std::vector<std::string> not_built;       // steps that a build would run
    std::vector<std::string> without_layer;   // steps whose records are known, and their layers nowhere
    std::string caches;                       // a line per tier
  };
  Status MakePlans(const BuildFlags& flags);
  Result<Warmed> Warm(const Plan& plan, Workspace& workspace, std::stop_token stop);

  BuildFlagParser parser_;
  std::string tier_;
  std::vector<std::string> contexts_, files_, targets_;
  std::optional<tier::Spec> to_;
  std::vector<Plan> plans_;
  std::unique_ptr<progress::Board> board_;
};

}  // namespace varve::cli
