// The tiers of one build: what --cache-from and --cache-to name, asked through one chain, written when
// the build is done, and accounted for in the summary.
//
// Nothing is opened or asked before the first look-up.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/build_flags.h"
#include "cli/cache_offer.h"
#include "cli/previous_images.h"
#include "cli/workspace.h"
#include "engine/engine.h"
#include "export/image.h"
#include "history/build.h"
#include "progress/board.h"
#include "tier/chain.h"

namespace varve::cli {

class CacheTiers {
 public:
  // `isolated`: no tier is read or written. All must outlive the tiers.
  static Result<std::unique_ptr<CacheTiers>> Open(const BuildFlags& flags, Workspace& workspace,
                                                  bool isolated, std::stop_token stop);

  tier::Chain& chain() { return *chain_; }
  // What of --cache-from may be an image.
  const std::vector<PreviousImages::Image>& images() const { return images_; }

  // Tells of tiers that could not be used, each once.
  void WarnOfFailures(progress::Board& board);

  // To all of --cache-to at once; `built_for` says what a place gets, from several threads. An error only
  // of a place with ignore-error=false.
  using BuiltFor = std::function<BuiltSteps(const tier::Spec&)>;
  Status Export(const BuiltFor& built_for, const exporter::ExportStores& stores, progress::Board& board,
                std::stop_token stop);

  // The same for history.
  std::vector<history::TierUse> Uses() const;

  // A line per tier: hits, bytes, requests, seconds; empty without tiers. Adds the totals to the
  // counters tier.requests, tier.bytes_read and tier.bytes_written.
  std::string Summary();

 private:
  struct Exported {
    tier::Spec spec;
    std::shared_ptr<tier::Tier> tier;
    Nanos time{0};
    std::optional<Error> failure;
  };
  explicit CacheTiers(std::string root) : root_(std::move(root)) {}
  // Null, and a line in warnings_, where the environment has no such service.
  Result<std::shared_ptr<tier::Tier>> OpenTier(const tier::Spec& spec, Workspace& workspace);
  void WarnOfSigning(const BuildFlags& flags);
  Status ExportOne(Exported& to, const BuiltSteps& built, const exporter::ExportStores& stores,
                   progress::Board& board, std::stop_token stop);

  const std::string root_;
  bool rebuild_ = false;
  std::unique_ptr<tier::Chain> chain_;
  std::vector<PreviousImages::Image> images_;
  std::vector<Exported> exports_;
  std::vector<std::pair<std::string, std::shared_ptr<tier::Tier>>> all_;  // each place once
  std::map<std::string, tier::Report> reports_;
  std::vector<progress::Warning> warnings_;  // not shown yet
};

}  // namespace varve::cli
