// A front end's result that can be run, looked into and exported: of a Dockerfile (dockerfile_build.h) or of a
// definition (llb_build.h). Used by one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/devices.h"
#include "daemon/failure.h"
#include "daemon/status_feed.h"
#include "engine/engine.h"
#include "export/image.h"
#include "job/build_history.h"
#include "policy/source_policy.h"

namespace varve::daemon {

// What to do with a result.
struct BuildTargets {
  std::vector<exporter::Output> outputs;
  std::vector<tier::Spec> cache_to;
};

// What the builds of one job share. All of it outlives them.
struct BuildPlace {
  job::Workspace& workspace;
  progress::Board& board;
  StatusFeed& feed;
  class Client& client;
  std::string ref;
  std::string session;                 // of the client
  const exec::StepSettings& steps;     // SolvePolicy's
  const Json& provenance_environment;  // SolvePolicy's
  const DeviceRules& devices;          // as well
  std::stop_token stop;
  std::shared_ptr<policy::SourcePolicy> policy = {};  // null: there is none
  int shadow_percent = 0;                             // of the replays: build.json's
};

// The call that led to a build, for its provenance.
struct BuildOrigin {
  attest::Invocation asked;   // of the front end
  attest::Invocation client;  // by which it came to be called
};

// The part of a result that the caller has to say: what the client's front end made of it.
struct WantedResult {
  size_t platform = 0;                                 // which of the build's
  std::string id;                                      // "linux/arm64"; empty: the only one
  std::string config;                                  // JSON; empty: the build's own
  std::optional<int64_t> epoch = {};                   // SOURCE_DATE_EPOCH, seconds
  std::vector<attest::Attestation> attestations = {};  // of the client's front end
  // Of all platforms together, in the first of them:
  std::vector<exporter::Output::Annotation> annotations = {};
  std::string image_name = {};  // names with commas between, for outputs whose name is "*"
};

// The client lists its local caches by this member of the answer, JSON as text (reference cache.md §1).
void TellCacheList(const std::optional<oci::Descriptor>& list, Json& metadata);

class LlbBuild;
struct ResultPart;

// The outputs as they are for this result. What an output says itself wins over what the front end says of the result.
std::vector<exporter::Output> OutputsFor(std::vector<exporter::Output> outputs, const WantedResult& first);

class ClientBuild {
 public:
  virtual ~ClientBuild() = default;

  // From here on, what a RUN that fails has written is kept: Failure::op tells of it.
  virtual void KeepFailures() = 0;
  // Runs what is not cached; empty: all went well. `want_data`: the layers are needed here.
  virtual std::optional<Failure> Run(bool want_data, job::BuildHistory* history) = 0;
  // Outputs beside those that the build was made with.
  virtual void AddOutputs(const std::vector<exporter::Output>& more) = 0;
  // After Run: what a part of a result is made of, attested as the build was asked to. `besides`: what else the
  // client's front end had built, to look into it.
  virtual Result<exporter::PlatformInput> InputOf(const WantedResult& wanted,
                                                  const std::vector<const LlbBuild*>& besides) = 0;
  // After Run: what led to that part of a result, in full, for the history of builds.
  virtual Result<attest::Attestation> HistoryProvenance(const WantedResult& wanted,
                                                        const std::vector<const LlbBuild*>& besides) = 0;
  // After Run of all that the parts are of: writes outputs and caches as this build, the first part's, was asked to.
  // `metadata` is what clients write to --metadata-file.
  virtual std::optional<Failure> Export(const std::vector<ResultPart>& parts,
                                        const std::vector<const LlbBuild*>& besides, Json& metadata) = 0;
  // After Run: the layers of a platform's result.
  virtual cache::Rootfs RootfsOf(size_t platform) const = 0;
  virtual const graph::Graph& graph() const = 0;
  virtual const engine::Outcome& outcome() const = 0;
  virtual const job::ExportedBuild& exported() const = 0;
  virtual std::vector<history::TierUse> CacheUses() const = 0;
};

// A result is what one build gave, or several: a client's front end may put it together as it likes, one part a
// platform.
struct ResultPart {
  ClientBuild* build = nullptr;
  WantedResult wanted;
  const LlbBuild* llb = nullptr;  // `build`, where it is of a definition
};

// What the history of builds has of every build: all of it, by the builder that the build itself was to name.
attest::ProvenanceRequest HistoryRequest(const attest::Request& asked);

// The config that the client's front end gives the part.
Result<oci::ImageConfig> ConfigOf(const WantedResult& wanted);

// `besides`: as of ClientBuild::InputOf.
Result<exporter::BuildResult> InputsOf(const std::vector<ResultPart>& parts,
                                       const std::vector<const LlbBuild*>& besides);

}  // namespace varve::daemon
