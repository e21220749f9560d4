// The tiers of one build: what --cache-from and --cache-to name, asked through one chain, written when
// the build is done, and accounted for in the summary.
//
// Nothing is opened or asked before the first look-up.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "engine/engine.h"
#include "export/image.h"
#include "history/build.h"
#include "job/build_flags.h"
#include "job/cache_offer.h"
#include "job/client_stores.h"
#include "job/export_ahead.h"
#include "job/previous_images.h"
#include "job/workspace.h"
#include "progress/board.h"
#include "tier/chain.h"
#include "tier/storage.h"

namespace varve::job {

class CacheTiers {
 public:
  // `isolated`: no tier is read or written. `client`: who has the caches of type=local. All must outlive the tiers.
  static Result<std::unique_ptr<CacheTiers>> Open(const BuildFlags& flags, Workspace& workspace, bool isolated,
                                                  std::stop_token stop, ClientStores client = nullptr);

  tier::Chain& chain() { return *chain_; }
  // What of --cache-from may be an image.
  const std::vector<PreviousImages::Image>& images() const { return images_; }

  using BuiltFor = std::function<BuiltSteps(const tier::Spec&)>;

  // Tells of tiers that could not be used, each once.
  void WarnOfFailures(progress::Board& board);

  // What of a build a place is to get; nothing: all of it.
  struct Share {
    std::vector<char> steps;  // by step
    std::vector<graph::Ref> wanted;
  };
  using ShareFor = std::function<Share(const tier::Spec&)>;
  // Layers go to the places of --cache-to from now on as steps end, where what goes does not hang on what
  // else there will be: not with max-export, max-time and mode=auto. Null: there is no such place. To be
  // closed before `images` goes; Export takes what it did into account.
  ExportAhead* StartAhead(const graph::Graph& graph, const ShareFor& share_for, Workspace& workspace,
                          std::function<std::vector<source::ResolvedImage>()> images, std::stop_token stop);

  // Of a build that failed: records of the steps whose layers were sent while it ran, so that they are of use
  // to the next one. No layer is sent for it.
  void ExportFinished(const BuiltFor& built_for, const exporter::ExportStores& stores, progress::Board& board,
                      std::stop_token stop);
  bool HasExports() const { return !exports_.empty(); }
  // To all of --cache-to at once; `built_for` says what a place gets, from several threads. An error only
  // of a place with ignore-error=false.
  Status Export(const BuiltFor& built_for, const exporter::ExportStores& stores, progress::Board& board,
                std::stop_token stop);

  // What the client has to list under the tags of its layouts, once Export wrote them.
  const std::optional<oci::Descriptor>& client_list() const { return client_list_; }

  // What the steps cost that a tier answered counts as saved by it.
  void NoteSaved(const engine::Outcome& outcome);

  // The same for history.
  std::vector<history::TierUse> Uses() const;

  // A line per tier: hits and what they saved, bytes, requests, seconds; empty without tiers. Adds the totals to the
  // counters tier.requests, tier.bytes_read, tier.bytes_written, tier.bytes_ahead and tier.saved_us.
  std::string Summary();

 private:
  struct Exported {
    tier::Spec spec;
    std::shared_ptr<tier::Tier> tier;
    std::optional<size_t> lane = {};  // of ahead_
    ExportAhead::Sent ahead = {};
    Nanos time{0};
    std::optional<Error> failure;
    bool told = false;  // as one of reading it
  };
  CacheTiers(std::string root, ClientStores client) : root_(std::move(root)), client_(std::move(client)) {}
  Result<std::unique_ptr<tier::BlobStorage>> OpenStorage(const tier::Spec& spec, Workspace& workspace);
  // Null, and a line in warnings_, where the environment has no such service.
  Result<std::shared_ptr<tier::Tier>> OpenTier(const tier::Spec& spec, Workspace& workspace);
  void WarnOfSigning(const BuildFlags& flags);
  Status ExportOne(Exported& to, const BuiltSteps& built, bool finished_only, const exporter::ExportStores& stores,
                   progress::Board& board, std::stop_token stop);

  // A layout of the client that an export wrote.
  struct ClientList {
    std::shared_ptr<RemoteBlobs> blobs;
    oci::Descriptor top;
  };
  Status AgreeOnClientList(std::stop_token stop);

  const std::string root_;
  const ClientStores client_;
  Guarded<std::vector<ClientList>> client_lists_;
  Guarded<std::vector<std::string>> client_notes_;  // not shown yet
  std::optional<oci::Descriptor> client_list_;
  bool rebuild_ = false;
  std::unique_ptr<tier::Chain> chain_;
  std::vector<PreviousImages::Image> images_;
  std::vector<Exported> exports_;
  std::vector<std::pair<std::string, std::shared_ptr<tier::Tier>>> all_;  // each place once
  std::map<std::string, tier::Report> reports_;
  std::vector<progress::Warning> warnings_;  // not shown yet
  std::map<std::string, Nanos> saved_;       // by tier
  Guarded<std::set<DiffId>> packed_ahead_;
  std::unique_ptr<ExportAhead> ahead_;  // last: its threads use the others
};

}  // namespace varve::job
