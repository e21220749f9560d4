// What a build has to give to a tier: its records, the layers that its mode asks for, and the trees that
// keys of later steps look into.
#pragma once

#include <map>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "export/image.h"
#include "graph/graph.h"
#include "job/workspace.h"
#include "source/image.h"
#include "tier/chain.h"
#include "tier/spec.h"

namespace varve::job {

// What exports are made from.
exporter::ExportStores StoresOf(Workspace& workspace);

struct BuiltSteps {
  const graph::Graph& graph;
  const engine::Outcome& outcome;
  const std::vector<source::ResolvedImage>& images;  // that were resolved: their layers stay where they are
  std::string mount_namespace = {};                  // of the steps' cache mounts
};

// The records of the steps: of the local store, and of hits whose layers never came here what a tier said.
using StepRecords = std::map<graph::StepIndex, cache::StepRecord>;
Result<StepRecords> RecordsOf(const BuiltSteps& built, tier::Chain& chain, cache::LocalStore& local);

// How a place has its layers made, and within which bounds: all of an offer but what there is to send. The
// references must outlive it.
tier::Offer OfferTerms(const tier::Spec& spec, tier::Chain& chain, const exporter::ExportStores& stores,
                       const OnProgress& on_progress);

// `packed_for_caches`: of layers that this build packed to send them to other places, a place with mode=min
// does not get more. The references must outlive the offer.
Result<tier::Offer> MakeOffer(const BuiltSteps& built, const tier::Spec& spec, tier::Chain& chain,
                              const exporter::ExportStores& stores, const OnProgress& on_progress,
                              const std::set<DiffId>& packed_for_caches = {});

// Leaves of an offer what `layers` alone allow: the records of which no other layer is to be sent.
void KeepOnly(tier::Offer& offer, const std::set<DiffId>& layers);

}  // namespace varve::job
