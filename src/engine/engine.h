// Builds a graph: asks the cache for what it can, runs the rest.
//
// One coordinator thread (the caller's) owns all state of a build and blocks only on its mailbox;
// resolving, look-ups, downloads and steps run on pools and come back as one message each; but a look-up or the like
// that is all there is to wait for runs right there. What to do is decided by Plan, what a key is by ComputeKey; this
// file only moves work and facts between them.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cache/tier.h"
#include "engine/interfaces.h"
#include "engine/keys.h"
#include "engine/plan.h"
#include "graph/graph.h"
#include "tree/tree.h"

namespace varve::engine {

// How old a step's record may be.
struct AgeLimit {
  Nanos limit{0};
  std::string rule;  // "--cache-max-age=7d", for explanations
};

// Which runs may stand for others (engine/replay.h).
struct TraceRules {
  bool on = true;             // note what steps look at, and replay those that saw no change
  bool strict_mtime = false;  // the modification times of files count as looked at
  // Of earlier runs of steps that may use the network, whose answers nobody notes; none: any age does.
  std::optional<AgeLimit> network_age = {};
  int shadow_percent = 0;  // of the replays: Outcome::shadows
};

struct Services {
  cache::RecordStore& records;
  tree::TreeStore& trees;
  SourceResolver& resolver;
  StepRunner& runner;
  StepLocks& locks;
  Observer& observer;
  Clock& clock;
  RecordArchive* archive = nullptr;  // better explanations
  ResultMatcher* matcher = nullptr;  // asked for what the records do not answer
};

struct Request {
  const graph::Graph& graph;
  std::vector<graph::Ref> wanted;
  bool want_data = true;    // false: records are enough (type=cacheonly)
  bool dry_run = false;     // nothing runs, is pulled or unpacked: see Outcome::forecast
  std::string salt;         // --cache-salt
  std::string project;      // names the files that are built, so that slots are theirs
  size_t max_running = 64;  // steps at once; they mostly wait for their own processes
  // By step, each empty or as long as the graph.
  std::vector<std::optional<AgeLimit>> max_age;
  TraceRules trace;
  std::vector<bool> must_hit;  // --fail-on-cache-miss: the build ends where such a step would run
};

struct Totals {
  int cached = 0;  // steps answered by records
  int ran = 0;
  int rounds = 0;  // look-up batches
  Nanos saved{0};
  uint64_t new_bytes = 0;
};

struct Outcome {
  std::optional<Error> error;  // what ended the build
  std::optional<graph::StepIndex> failed_step;
  std::vector<StepOutcome> steps;        // by step index
  std::vector<cache::Rootfs> wanted;     // of a successful build, as Request::wanted
  std::vector<Plan::Forecast> forecast;  // of a dry run, by step index; its reasons are in `steps`
  std::vector<ShadowRun> shadows;        // replays to be checked, when the caller has time (engine/shadow.h)
  bool cache_miss = false;               // `error` is that a step of Request::must_hit would run
  Totals totals;
};

Outcome Build(const Request& request, const Services& services, std::stop_token stop);

}  // namespace varve::engine
