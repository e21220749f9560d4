// The path of a build in parts, for the commands that walk it: `build` to its end, `plan` up to the
// look-ups, `verify` twice.
//
// The parts are called in order, by one thread. Nothing is printed here: errors and warnings are the
// caller's to show.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "dockerfile/lower_platforms.h"
#include "dockerfile/parser.h"
#include "engine/engine.h"
#include "exec/runner.h"
#include "job/attestations.h"
#include "job/build_context.h"
#include "job/build_flags.h"
#include "job/build_outputs.h"
#include "job/cache_offer.h"
#include "job/cache_tiers.h"
#include "job/client_stores.h"
#include "job/replay_checks.h"
#include "job/ssh_agents.h"
#include "job/workspace.h"
#include "policy/source_policy.h"
#include "progress/board.h"

namespace varve::job {

// A graph to run, and with what.
struct GraphRun {
  const graph::Graph& graph;
  std::vector<graph::Ref> wanted;
  exec::RunnerOptions runner;
  std::string project;
  std::string salt;
  bool want_data = true;  // the wanted layers are needed here
  bool dry_run = false;
  engine::TraceRules trace = {};
  std::vector<std::optional<engine::AgeLimit>> max_age = {};
  std::vector<bool> must_hit = {};
  CacheTiers* tiers = nullptr;                           // asked for what the local store does not have
  CacheTiers::ShareFor share_for = {};                   // of the parts of a joined graph
  PreviousImages* previous = nullptr;                    // asked for what they do not have either
  std::vector<source::ResolvedImage>* images = nullptr;  // gets the images that were resolved
  attest::SourcePins* pins = nullptr;                    // gets what git and http sources turned out to be
  // Gets the runs that check replays (--trace-shadow), to be made before the workspace goes. Without it
  // they are made before RunGraph returns.
  ReplayChecks::Work* shadows = nullptr;
};

// Without what caches elsewhere could give.
exec::RunnerStores RunnerStoresOf(Workspace& workspace);

// Resolves, keys, looks up, and unless it is a dry run runs what is left.
Result<engine::Outcome> RunGraph(GraphRun run, Workspace& workspace, engine::Observer& observer, std::stop_token stop);

// After a build failed with `error`, of a step or an output: whether damage of the store may be why,
// which is gone now, so that the build may be tried again. Says so.
bool MendAfter(const Error& error, Workspace& workspace, progress::Board& board, std::stop_token stop);
constexpr int kMaxMends = 2;  // of one build; each reads all that it uses

// What a build takes from, and gives to, somebody who is not this process: the client of a daemon.
struct BuildClient {
  std::string project;  // see BuildJob::project
  exec::SecretLookup secrets;
  // Sockets of the agents that the graph asks for; they live as long as the client.
  std::function<Result<std::vector<exec::SshAgent>>(const graph::Graph&)> ssh;
  // Of contexts that BuildContext has no directory for.
  exec::LocalDirectory directories;
  exec::UploadedBody uploads;
  std::map<std::string, dockerfile::LoweredInput> inputs;  // of contexts "input:NAME"
  OutputReceiver* outputs = nullptr;
  ClientStores stores;
  policy::SourcePolicy* policy = nullptr;  // null: all sources are allowed, as they are
  std::optional<ClientFacts> facts;        // for the provenance
  exec::StepSettings steps = {};
  exec::KeepFailed keep_failed = nullptr;  // null: nobody looks into failed steps
};

class BuildJob {
 public:
  // All must outlive the job.
  BuildJob(const BuildFlags& flags, Workspace& workspace, progress::Board& board, std::stop_token stop)
      : flags_(flags), workspace_(workspace), board_(board), stop_(std::move(stop)) {}

  // What can be refused before anything is touched: platforms that are none, and outputs that cannot
  // hold them.
  static Status CheckFlags(const BuildFlags& flags, const std::vector<exporter::Output>& outputs = {});

  // The named context `name` is what `other` leads to. `other` must be lowered before this job is, and
  // outlive its Lower().
  void Link(std::string name, const BuildJob& other) { links_.emplace_back(std::move(name), &other); }

  // Base images that `other` showed as it resolved them are not shown again.
  void ShowWith(const BuildJob& other) { shown_images_ = other.shown_images_; }

  // The build is for `client`, which outlives the job; secrets, agents and outputs of the flags do not count.
  void ServeClient(const BuildClient& client) { client_ = &client; }

  // Opens the context and parses the Dockerfile. Reads the source policy of the flags.
  dockerfile::Parsed<void> Read();
  // The same of a context that the caller has opened.
  dockerfile::Parsed<void> Read(BuildContext context);
  // Turns it into one graph for all platforms; base images are resolved, and shown, as it meets them. The
  // warnings are there even when it fails.
  dockerfile::Parsed<void> Lower();

  // Resolves, keys, looks up, and unless `dry_run` runs what is left. A failed step is in the outcome;
  // an error is what kept the build from starting.
  struct RunOptions {
    // The wanted layers are needed here, not just their descriptors. False: an Export that follows takes
    // those that are not here from where they are, if it needs them at all.
    bool want_data = true;
    bool dry_run = false;
    // Not empty: nothing that another build left is used, not even cache mounts, and what this one
    // leaves is found by nobody else. Names it; see Forget.
    std::string isolated;
    std::vector<AgeRule> max_age;         // of a configuration file; the flags' rules win
    std::vector<graph::Ref> wanted = {};  // in place of the results
    bool shadows_later = false;           // until FinishShadows, beside what the caller does then
    bool must_hit_all = false;            // an error, Outcome::cache_miss, where a step would run
  };
  Result<engine::Outcome> Run(const RunOptions& options, engine::Observer& observer);

  // The checks of `shadows_later`. What they disown goes to no cache: ExportCaches waits for their end.
  bool ChecksReplays() const { return checks_.running(); }
  void FinishShadows(engine::Outcome& outcome) { checks_.Finish(lowered_.graph, outcome, board_); }

  // What a run needs besides the graph. Starts the agents of --ssh; they live as long as the job.
  Result<exec::RunnerOptions> MakeRunnerOptions(const std::string& isolated);

  // Removes the records and cache mounts of an isolated run.
  void Forget(const engine::Outcome& outcome, const std::string& isolated);

  // The image's configs, one per platform, as Export would write them to `output`.
  Result<std::vector<oci::ImageConfig>> Configs(const engine::Outcome& outcome, exporter::Output output);
  // What a successful outcome led to, with what is attested of it.
  Result<exporter::BuildResult> AttestedResult(const engine::Outcome& outcome);
  // What led to one platform's result, whether or not the flags ask for it. `with_layers`: exporters are to say what
  // the steps became, which takes all of their records.
  Result<attest::Attestation> Provenance(const attest::ProvenanceRequest& asked, const engine::Outcome& outcome,
                                         size_t platform, bool with_layers);
  // Writes it.
  Result<ExportedBuild> Export(const engine::Outcome& outcome, const std::vector<exporter::Output>& outputs);
  // Writes what somebody has put together of it, and of other builds' results.
  Result<ExportedBuild> Export(const exporter::BuildResult& result, const std::vector<exporter::Output>& outputs);

  // What is known of the last Run's steps, wherever it is.
  Result<StepRecords> Records(const engine::Outcome& outcome) {
    return RecordsOf({lowered_.graph, outcome, images_}, tiers_->chain(), *workspace_.local.store);
  }
  std::set<DiffId> LayersOfImages() const;  // that the last Run resolved, and that are to be had again

  // What outputs are made from.
  exporter::ExportStores Stores();

  // Writes --cache-to, once the build succeeded. Beside Export(), which does not touch the same things.
  Status ExportCaches(const engine::Outcome& outcome);
  bool ExportsCaches() const;  // else that takes no time
  // After a build that failed: what of it is in the caches already is of use to the next one.
  void ExportFinished(const engine::Outcome& outcome);
  // What the tiers of Run and ExportCaches did, a line each.
  std::string CacheSummary() { return tiers_ ? tiers_->Summary() : ""; }
  // See CacheTiers::client_list.
  std::optional<oci::Descriptor> ClientCacheList() const { return tiers_ ? tiers_->client_list() : std::nullopt; }
  std::vector<history::TierUse> CacheUses() const { return tiers_ ? tiers_->Uses() : std::vector<history::TierUse>(); }

  const BuildContext& context() const { return context_; }
  const dockerfile::Dockerfile& file() const { return file_; }
  // Of the first platform; its references are into graph(). Empty before Lower() and when that fails.
  const dockerfile::Lowered& lowered() const { return lowered_.results[0].lowered; }
  const dockerfile::LoweredPlatforms& platforms() const { return lowered_; }
  // For one who joins the graphs of several jobs, and moves their references along.
  dockerfile::LoweredPlatforms& platforms() { return lowered_; }
  const graph::Graph& graph() const { return lowered_.graph; }
  // What a run of the graph is to give: the results of the platforms that have one, then what was scanned.
  std::vector<graph::Ref> Wanted() const;
  // Where the scans are in a graph that several jobs are joined in.
  void MoveScans(const graph::Joined& joined, size_t which) {
    for (graph::Ref& scan : scans_) scan = joined.Place(which, scan);
  }
  // For one who has run the graphs of several jobs as one.
  void set_built(BuiltGraph built) { built_ = std::move(built); }
  const std::vector<dockerfile::Warning>& warnings() const { return warnings_; }
  // What tells this project's builds from others': its directory, else its Dockerfile's name.
  std::string project() const;

 private:
  policy::SourcePolicy* Policy() const { return client_ != nullptr ? client_->policy : flags_policy_.get(); }
  dockerfile::LowerOptions Options() const;
  Status AddLinks(dockerfile::LowerOptions& options, const std::vector<oci::Platform>& platforms) const;
  Result<exporter::BuildResult> ResultOf(const engine::Outcome& outcome) const;
  BuiltSteps Built(const engine::Outcome& outcome) const;
  Status Attest(const engine::Outcome& outcome, exporter::BuildResult& result);

  const BuildFlags& flags_;
  Workspace& workspace_;
  progress::Board& board_;
  std::stop_token stop_;
  const BuildClient* client_ = nullptr;
  std::shared_ptr<policy::SourcePolicy> flags_policy_;  // null: there is none
  BuildContext context_;
  dockerfile::Dockerfile file_;
  dockerfile::LoweredPlatforms lowered_{.results = std::vector<dockerfile::PlatformResult>(1)};
  std::vector<dockerfile::Warning> warnings_;
  std::vector<graph::Ref> scans_;  // one a platform, where an SBOM is asked for
  bool all_here_ = true;           // the layers that the last Run was wanted to give
  BuiltGraph built_;
  std::unique_ptr<SshAgents> agents_;
  std::unique_ptr<CacheTiers> tiers_;          // of the last Run
  std::vector<source::ResolvedImage> images_;  // that the last Run resolved
  std::vector<std::pair<std::string, const BuildJob*>> links_;
  std::shared_ptr<Guarded<std::set<std::string>>> shown_images_ =
      std::make_shared<Guarded<std::set<std::string>>>();  // "REFERENCE PLATFORM"
  ReplayChecks checks_;                                    // last: they use the tiers and the workspace
};

}  // namespace varve::job
