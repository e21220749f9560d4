// A build of a definition: what buildctl sends, and front ends that run in a client.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/client_build.h"
#include "daemon/client_files.h"
#include "job/cache_tiers.h"
#include "llb/definition.h"

namespace varve::daemon {

class LlbBuild final : public ClientBuild {
 public:
  // `sources`: the files that the client made the definition from.
  LlbBuild(llb::Decoded decoded, const pb::Source& sources, job::BuildFlags flags, BuildTargets targets, BuildPlace place);

  std::optional<Failure> Run(bool want_data, job::BuildHistory* history) override;
  void AddOutputs(const std::vector<exporter::Output>& more) override {
    targets_.outputs.insert(targets_.outputs.end(), more.begin(), more.end());
  }
  std::optional<Failure> Export(const std::vector<WantedResult>& wanted, Json& metadata) override;
  cache::Rootfs RootfsOf(size_t platform) const override;
  size_t platforms() const override { return 1; }

  const graph::Graph& graph() const override { return decoded_.graph; }
  const engine::Outcome& outcome() const override { return outcome_; }
  const job::ExportedBuild& exported() const override { return exported_; }
  std::vector<history::TierUse> CacheUses() const override;

  // A result of several definitions, one a platform: what all of them gave, through the first one's caches.
  struct Part {
    LlbBuild* build = nullptr;
    WantedResult wanted;
  };
  // The scanner of the SBOM that is asked for is to look at the result in the next Run. Once.
  Status AddScan(const WantedResult& wanted);
  // `besides`: what else the client's front end had built, to look into it.
  std::optional<Failure> ExportAll(const std::vector<Part>& parts, const std::vector<const LlbBuild*>& besides,
                                   Json& metadata);

 private:
  void ShowAsTheClientDoes();
  std::optional<FailurePlace> PlaceOf(graph::StepIndex step) const;
  Result<job::StepRecords> Records() const;
  std::vector<std::optional<Timestamp>> TimesOf(const std::vector<DiffId>& layers,
                                                const job::StepRecords& records) const;
  Result<exporter::PlatformInput> InputOf(const Part& part, const std::vector<const LlbBuild*>& besides) const;
  Result<attest::Attestation> ProvenanceOf(const LlbBuild& part, const std::vector<const LlbBuild*>& besides) const;
  exporter::ExportStores Stores() const;

  llb::Decoded decoded_;
  std::optional<graph::Ref> scan_;  // of the result, behind the steps of the definition
  const job::BuildFlags flags_;
  BuildTargets targets_;
  BuildPlace place_;
  ClientFiles files_;
  std::unique_ptr<job::CacheTiers> tiers_;
  std::vector<attest::SourceFile> sources_;
  std::map<std::string, pb::Definition> origins_;  // how those of `sources_` were read
  std::vector<source::ResolvedImage> images_;
  attest::SourcePins pins_;
  Timestamp started_;
  std::unique_ptr<job::BoardObserver> observer_;
  engine::Outcome outcome_;
  job::ExportedBuild exported_;
};

}  // namespace varve::daemon
