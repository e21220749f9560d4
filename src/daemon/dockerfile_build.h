// One build of the Dockerfile front end for a client: frontends dockerfile.v0 and gateway.v0 with an image
// docker/dockerfile*.
//
//   DockerfileBuild build(request, place);
//   if (auto failure = build.Prepare()) return *failure;    // the Dockerfile read, checked and lowered
//   if (auto failure = build.Run(…)) …                      // what its results need
//   build.Export(…)
//
// The parts are called in order by one thread; they are job/build_job.h's, with a client at the other end
// instead of a command line. Prepare runs while the client's front end waits (LLBBridge.Solve), the rest once
// it has returned a result (Control.Solve).
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/client.h"
#include "daemon/client_build.h"
#include "daemon/client_files.h"
#include "daemon/failure.h"
#include "daemon/frontend_request.h"
#include "daemon/status_feed.h"
#include "job/build_history.h"
#include "job/build_job.h"
#include "job/call_results.h"
#include "llb/input.h"

namespace varve::daemon {

class DockerfileBuild final : public ClientBuild {
 public:
  // `inputs`: what contexts "input:NAME" are.
  DockerfileBuild(FrontendRequest request, llb::Inputs inputs, std::vector<tier::Spec> cache_from, BuildTargets targets,
                  BuildPlace place, BuildOrigin origin);
  ~DockerfileBuild() override;

  // Empty: all went well, or the file is for another front end.
  std::optional<Failure> Prepare();
  // After Prepare: the front end that is to be asked instead of this one, and where the file says so.
  struct OtherFrontend {
    dockerfile::Syntax syntax;
    std::optional<FailurePlace> place;
  };
  const std::optional<OtherFrontend>& other_frontend() const { return other_frontend_; }
  // The answer to FrontendRequest::subrequest, instead of Prepare.
  Result<job::CallResult> Answer(std::optional<Failure>& failure);

  // The results as definitions that other builds may go on with.
  pb::Definition Definition(size_t platform, const std::string& session) const;
  pb::Definition Definition(const std::optional<graph::Ref>& result, const std::string& session) const;
  const dockerfile::LoweredPlatforms& lowered() const { return job_->platforms(); }

  void KeepFailures() override { files_->hooks().keep_failed = kept_.keeper(); }
  std::optional<Failure> Run(bool want_data, job::BuildHistory* history) override;
  void AddOutputs(const std::vector<exporter::Output>& more) override {
    targets_.outputs.insert(targets_.outputs.end(), more.begin(), more.end());
  }
  Result<exporter::PlatformInput> InputOf(const WantedResult& wanted,
                                          const std::vector<const LlbBuild*>& besides) override;
  Result<attest::Attestation> HistoryProvenance(const WantedResult& wanted,
                                                const std::vector<const LlbBuild*>& besides) override;
  std::optional<Failure> Export(const std::vector<ResultPart>& parts, const std::vector<const LlbBuild*>& besides,
                                Json& metadata) override;
  cache::Rootfs RootfsOf(size_t platform) const override;
  const graph::Graph& graph() const override { return job_->graph(); }
  const engine::Outcome& outcome() const override { return outcome_; }
  const job::ExportedBuild& exported() const override { return exported_; }
  std::vector<history::TierUse> CacheUses() const override { return job_->CacheUses(); }

 private:
  Result<job::BuildContext> OpenContext();
  Status ReadDockerfile(job::BuildContext& context);
  Status OpenRemoteContext(job::BuildContext& context);
  std::string SessionOf(const std::string& mount) const;  // of the client that has it; empty: the build's own
  Status EnterSubdirectory(job::BuildContext& context) const;
  Result<std::string> DockerfileIn(const std::string& directory) const;
  Status ReadIgnoreFiles(job::BuildContext& context);
  // The main context is the result of another build, which the client has given as an input.
  bool HasInputContext() const { return request_.context.empty() && inputs_.by_name.contains("context"); }
  // Builds an input, and copies what it gives to a directory that lives as long as `context`.
  Result<std::string> FilesOfInput(const std::string& name, job::BuildContext& context);
  Result<std::vector<std::string>> IgnorePatternsOf(const std::string& mount, const std::string& file,
                                                    std::string& found);
  job::ClientFacts Facts() const;
  graph::Graph ReadGraph() const;  // how the Dockerfile comes from the client
  FailurePlace PlaceOf(const dockerfile::Span& span, const job::BuildContext& context) const;
  Failure At(const dockerfile::SourceError& error) const;
  Failure OfOutcome();
  std::string SharedKeyOf(const std::string& mount) const;
  // What a mount has of `files`; nothing when the client does not offer the mount.
  Result<std::unique_ptr<SyncedFiles>> SyncIfOffered(const WantedFiles& wanted, engine::StepSink& sink);

  FrontendRequest request_;
  std::vector<std::string> granted_;  // entitlements
  BuildTargets targets_;
  BuildPlace place_;
  const BuildOrigin origin_;
  const llb::Inputs inputs_;
  std::unique_ptr<ClientFiles> files_;
  std::vector<std::string> read_mounts_;  // where the Dockerfile and the ignore file were looked for
  // Text of the Dockerfile's own ignore file, which wins over the context's; nothing: there is none.
  std::optional<std::string> own_ignore_;

  KeptFailures kept_;
  std::optional<OtherFrontend> other_frontend_;
  std::unique_ptr<job::BuildJob> job_;
  std::unique_ptr<job::BoardObserver> observer_;
  engine::Outcome outcome_;
  std::optional<exporter::BuildResult> result_;  // of the last Run, once somebody wants it
  job::ExportedBuild exported_;
};

// "refs.platforms" and the keys of results: what clients know of the platforms.
Json PlatformList(const dockerfile::LoweredPlatforms& platforms);

// Whether a front end's name, and the image that a gateway front end names, mean the one that is here.
bool IsDockerfileFrontend(const std::string& frontend, const Attributes& attributes);

}  // namespace varve::daemon
