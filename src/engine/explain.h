// Why a step missed: the difference between the preimage of its key and that of the nearest earlier
// record of the same step, in words. Pure, except that trees are read to name the files.
//
// What no difference tells (the user's wish, evictions, lost data, tiers, what an earlier step did in
// this build) is the build's to say: engine/miss.h.
#pragma once

#include <vector>

#include "cache/step_record.h"
#include "engine/keys.h"
#include "engine/reason.h"
#include "graph/graph.h"
#include "tree/tree.h"

namespace varve::engine {

// The earlier step that `now` differs least from.
struct Nearest {
  const cache::StepRecord* record = nullptr;  // null: there is none
  std::vector<Reason> reasons;                // never empty
};

// `earlier`: candidates, nearest first (cache::RecordStore::Earlier).
Nearest Explain(const graph::Step& step, const KeyedStep& now, const std::vector<cache::StepRecord>& earlier,
                tree::TreeStore& trees);

// The key of the step that a preimage writes on, if it is one.
std::optional<StepKey> ParentKey(std::string_view preimage);

}  // namespace varve::engine
