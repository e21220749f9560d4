// What a build has to give to a tier: its records, the layers that its mode asks for, and the trees that
// keys of later steps look into.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "export/image.h"
#include "graph/graph.h"
#include "source/image.h"
#include "tier/chain.h"
#include "tier/spec.h"

namespace varve::cli {

struct BuiltSteps {
  const graph::Graph& graph;
  const engine::Outcome& outcome;
  const std::vector<source::ResolvedImage>& images;  // that were resolved: their layers stay where they are
  std::string mount_namespace = {};                  // of the steps' cache mounts
};

// The records of the steps: of the local store, and of hits whose layers never came here what a tier said.
using StepRecords = std::map<graph::StepIndex, cache::StepRecord>;
Result<StepRecords> RecordsOf(const BuiltSteps& built, tier::Chain& chain, cache::LocalStore& local);

// The references must outlive the offer.
Result<tier::Offer> MakeOffer(const BuiltSteps& built, const tier::Spec& spec, tier::Chain& chain,
                              const exporter::ExportStores& stores, const OnProgress& on_progress);

}  // namespace varve::cli
