// A front end's result that can be run, looked into and exported: of a Dockerfile (dockerfile_build.h) or of a
// definition (llb_build.h). Used by one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

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
  const Json& provenance_environment;  // SolvePolicy's
  std::stop_token stop;
  std::shared_ptr<policy::SourcePolicy> policy = {};  // null: there is none
};

// The part of a result that the caller has to say: what the client's front end made of it.
struct WantedResult {
  size_t platform = 0;        // which of the build's
  std::string id;             // "linux/arm64"; empty: the only one
  std::string config;         // JSON; empty: the build's own
  std::optional<int64_t> epoch = {};  // SOURCE_DATE_EPOCH, seconds
  std::vector<attest::Attestation> attestations = {};  // of the client's front end
  std::vector<exporter::Output::Annotation> annotations = {};  // of all platforms together, in the first of them
};

// The client lists its local caches by this member of the answer, JSON as text (reference cache.md §1).
inline void TellCacheList(const std::optional<oci::Descriptor>& list, Json& metadata) {
  if (list) metadata.Set("cache.manifest", oci::ToJson(*list).Dump());
}

// The outputs as they are for this result. What an output says itself wins over what the front end says of the result.
inline std::vector<exporter::Output> OutputsFor(std::vector<exporter::Output> outputs, const WantedResult& first) {
  for (exporter::Output& output : outputs) {
    output.annotations.insert(output.annotations.begin(), first.annotations.begin(), first.annotations.end());
    if (!output.source_date_epoch && !output.no_epoch) output.source_date_epoch = first.epoch;
  }
  return outputs;
}

class ClientBuild {
 public:
  virtual ~ClientBuild() = default;

  // Runs what is not cached; empty: all went well. `want_data`: the layers are needed here.
  virtual std::optional<Failure> Run(bool want_data, job::BuildHistory* history) = 0;
  // Outputs beside those that the build was made with.
  virtual void AddOutputs(const std::vector<exporter::Output>& more) = 0;
  // After Run: writes outputs and caches. `metadata` is what clients write to --metadata-file.
  virtual std::optional<Failure> Export(const std::vector<WantedResult>& wanted, Json& metadata) = 0;
  // After Run: the layers of a platform's result.
  virtual cache::Rootfs RootfsOf(size_t platform) const = 0;
  virtual size_t platforms() const = 0;

  virtual const graph::Graph& graph() const = 0;
  virtual const engine::Outcome& outcome() const = 0;
  virtual const job::ExportedBuild& exported() const = 0;
  virtual std::vector<history::TierUse> CacheUses() const = 0;
};

}  // namespace varve::daemon
