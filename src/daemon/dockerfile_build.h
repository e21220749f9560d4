// One build of the Dockerfile front end for a client: frontends dockerfile.v0 and gateway.v0 with an image
// docker/dockerfile*.
//
//   DockerfileBuild build(request, place);
//   if (auto failure = build.Prepare()) return *failure;    // the Dockerfile read, checked and lowered
//   if (auto failure = build.Run(…)) …                      // what its results need
//   build.Export(…)
//
// The parts are called in order by one thread; they are cli/build_job.h's, with a client at the other end
// instead of a command line. Prepare runs while the client's front end waits (LLBBridge.Solve), the rest once
// it has returned a result (Control.Solve).
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/build_history.h"
#include "cli/build_job.h"
#include "cli/call_results.h"
#include "daemon/client.h"
#include "daemon/failure.h"
#include "daemon/frontend_request.h"
#include "daemon/status_feed.h"

namespace varve::daemon {

// What the builds of one job share. All of it outlives them.
struct BuildPlace {
  cli::Workspace& workspace;
  progress::Board& board;
  StatusFeed& feed;
  Client& client;
  std::string ref;
  std::stop_token stop;
};

// What to do with a result.
struct BuildTargets {
  std::vector<exporter::Output> outputs;
  std::vector<tier::Spec> cache_to;
};

class DockerfileBuild {
 public:
  DockerfileBuild(FrontendRequest request, std::vector<tier::Spec> cache_from, BuildTargets targets,
                  BuildPlace place);
  ~DockerfileBuild();

  // Empty: all went well.
  std::optional<Failure> Prepare();
  // The answer to FrontendRequest::subrequest, instead of Prepare.
  Result<cli::CallResult> Answer(std::optional<Failure>& failure);

  // Runs what is not cached. `want_data`: the layers are needed here.
  std::optional<Failure> Run(bool want_data, cli::BuildHistory* history);
  // Writes outputs and caches; to be called after Run. `metadata` is what clients write to --metadata-file.
  std::optional<Failure> Export(Json& metadata);

  const dockerfile::LoweredPlatforms& platforms() const { return job_->platforms(); }
  const graph::Graph& graph() const { return job_->graph(); }
  const engine::Outcome& outcome() const { return outcome_; }
  const cli::ExportedBuild& exported() const { return exported_; }
  const cli::BuildJob& job() const { return *job_; }
  const cli::BuildFlags& flags() const { return request_.flags; }
  std::vector<history::TierUse> CacheUses() const { return job_->CacheUses(); }

 private:
  class Outputs;
  Result<cli::BuildContext> OpenContext();
  Status ReadDockerfile(cli::BuildContext& context);
  Status OpenRemoteContext(cli::BuildContext& context);
  Status ReadDockerfileOf(cli::BuildContext& context) const;
  Status ReadIgnoreFiles(cli::BuildContext& context);
  Result<std::vector<std::string>> IgnorePatternsOf(const std::string& mount, const std::string& file,
                                                    std::string& found);
  Result<std::string> DirectoryOf(const graph::LocalSource& source, const std::vector<tree::Selector>& reach,
                                  engine::StepSink& sink, std::stop_token stop);
  Result<std::vector<exec::SshAgent>> StartAgents(const graph::Graph& graph);
  Failure At(const dockerfile::SourceError& error) const;
  Failure OfOutcome() const;
  std::string SharedKeyOf(const std::string& mount) const;

  FrontendRequest request_;
  const BuildTargets targets_;
  BuildPlace place_;
  std::unique_ptr<Outputs> outputs_;
  cli::BuildClient serve_;
  // Text of the Dockerfile's own ignore file, which wins over the context's; nothing: there is none.
  std::optional<std::string> own_ignore_;

  // What the client sent: it stays until the build is done.
  struct Synced {
    std::string mount;
    std::vector<std::string> include, exclude, follow;
    std::unique_ptr<SyncedFiles> files;
  };
  std::mutex syncing_;
  std::vector<Synced> synced_;
  std::vector<std::unique_ptr<ForwardedAgent>> agents_;

  std::unique_ptr<cli::BuildJob> job_;
  std::unique_ptr<cli::BoardObserver> observer_;
  engine::Outcome outcome_;
  cli::ExportedBuild exported_;
};

// Whether a front end's name, and the image that a gateway front end names, mean the one that is here.
bool IsDockerfileFrontend(const std::string& frontend, const Attributes& attributes);

}  // namespace varve::daemon
