// Why a step runs in this build: what the build itself did to it, what became of its record, and else
// the difference from the nearest earlier record (engine/explain.h).
//
// The facts are collected by the coordinator when the step is about to run; the rest blocks on the
// store and the trees, and happens on a pool.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cache/tier.h"
#include "engine/interfaces.h"
#include "engine/keys.h"
#include "graph/graph.h"
#include "tree/tree.h"

namespace varve::engine {

// A step that the one that missed builds on or reads.
struct Upstream {
  const graph::Step* step = nullptr;
  std::shared_ptr<const KeyedStep> keyed;  // null: a source
  std::string fact_name;                   // as InputFact::name
  bool ran = false;                        // in this build
  // It ran though it had been built before with the same key: what it gives need not be the same.
  bool again = false;
  graph::StepIndex cause = 0;  // of a step that ran: the root of its reasons
  std::string cause_name;
};

struct Miss {
  const graph::Graph* graph = nullptr;
  const graph::Step* step = nullptr;
  std::shared_ptr<const KeyedStep> keyed;
  std::string slot;
  // Of this build. What it made itself, for another platform, is no earlier build of this step.
  Timestamp began;
  std::vector<Upstream> lineage;  // what it writes on, nearest first
  std::vector<Upstream> reads;
  bool parent_must_run = false;  // no_cache or age of a step that it builds on
  struct Lost {
    Error error;
    std::string tier;  // that gave the record; empty: this machine's store
  };
  std::optional<Lost> lost;  // a record hit, and its layers could not be had
  struct Age {
    Nanos age{0};
    Nanos limit{0};
    std::string rule;   // "--cache-max-age=7d"
    std::string below;  // the limited step that its record holds an old result of
  };
  std::optional<Age> too_old;
  std::optional<Error> look_up_error;
  std::shared_ptr<const std::set<Digest>> ops;  // op digests of the whole graph
};

struct MissStores {
  cache::RecordStore& records;
  tree::TreeStore& trees;
  RecordArchive* archive;  // may be null
  Clock& clock;
};

struct ExplainedMiss {
  std::vector<Reason> reasons;
  std::optional<graph::StepIndex> cause;             // as StepOutcome
  std::shared_ptr<const cache::StepRecord> nearest;  // the earlier run that differs least, or null
};

ExplainedMiss ExplainMiss(const Miss& miss, const MissStores& stores);

// After a step ran: when it made of other inputs the very files that it had made before, what had been
// copied below it was no concern of its. Adds the hint to the reasons; true when it did.
bool AddOrderHint(const Miss& miss, const ExplainedMiss& explained, const cache::Rootfs& now,
                  const cache::Rootfs& parent_now, const MissStores& stores, std::vector<Reason>& reasons);

// "[build 2/5] RUN make" as `RUN make`, one line of it.
std::string Instruction(const graph::Step& step);

}  // namespace varve::engine
