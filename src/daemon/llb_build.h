// A build of a definition: what buildctl sends, and front ends that run in a client.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/client_build.h"
#include "daemon/client_files.h"
#include "job/cache_tiers.h"
#include "job/replay_checks.h"
#include "llb/definition.h"

namespace varve::daemon {

class LlbBuild final : public ClientBuild {
 public:
  // `definition`: what `decoded` is of, with the files that the client made it from.
  // `origin`: nothing where the client sent it, for reasons unknown here.
  LlbBuild(llb::Decoded decoded, pb::Definition definition, job::BuildFlags flags, BuildTargets targets,
           BuildPlace place, std::optional<BuildOrigin> origin = {});

  void KeepFailures() override { files_.hooks().keep_failed = kept_.keeper(); }
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

  const graph::Graph& graph() const override { return decoded_.graph; }
  const engine::Outcome& outcome() const override { return outcome_; }
  const job::ExportedBuild& exported() const override { return exported_; }
  std::vector<history::TierUse> CacheUses() const override;
  // After Run.
  job::BuiltSteps Built() const { return {decoded_.graph, outcome_, images_}; }

  // The scanner of the SBOM that is asked for is to look at the result in the next Run. Once.
  Status AddScan(const WantedResult& wanted);

 private:
  void ShowAsTheClientDoes();
  std::shared_ptr<const FailedOp> OpOf(graph::StepIndex step);
  std::vector<FailurePlace> PlacesOf(graph::StepIndex step) const;
  Result<job::StepRecords> Records() const;
  std::vector<std::optional<Timestamp>> TimesOf(const std::vector<DiffId>& layers,
                                                const job::StepRecords& records) const;
  Result<attest::Attestation> ProvenanceOf(const attest::ProvenanceRequest& asked,
                                           const std::vector<const LlbBuild*>& besides, bool with_layers) const;
  exporter::ExportStores Stores() const;

  llb::Decoded decoded_;
  const pb::Definition definition_;
  KeptFailures kept_;
  std::optional<graph::Ref> scan_;  // of the result, behind the steps of the definition
  const job::BuildFlags flags_;
  BuildTargets targets_;
  BuildPlace place_;
  const std::optional<BuildOrigin> origin_;
  ClientFiles files_;
  std::unique_ptr<job::CacheTiers> tiers_;
  std::vector<attest::SourceFile> sources_;
  std::vector<source::ResolvedImage> images_;
  attest::SourcePins pins_;
  Timestamp started_;
  std::unique_ptr<job::BoardObserver> observer_;
  engine::Outcome outcome_;
  job::ExportedBuild exported_;
  job::ReplayChecks checks_;  // last: they use what the run had
};

}  // namespace varve::daemon
