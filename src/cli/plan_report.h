// What `varve plan` prints: what a build would do with each step, why, and how long that took before.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "graph/graph.h"

namespace varve::cli {

struct PlannedStep {
  graph::StepIndex index = 0;
  engine::Plan::Forecast forecast = engine::Plan::Forecast::kNotNeeded;
  std::optional<Nanos> expected;  // of a step that would run, or may: what it cost the last time
};

struct PlanTotals {
  int hits = 0, replays = 0, runs = 0, open = 0;
  Nanos expected{0};      // of the steps that run, on the longest path: the build's end
  Nanos expected_sum{0};  // of all of them
  int unknown_times = 0;  // steps that run and were never timed
};

// `past`: what steps cost in earlier builds, by slot, for those whose records are gone.
std::vector<PlannedStep> PlanSteps(const graph::Graph& graph, const engine::Outcome& outcome,
                                   const std::map<std::string, Nanos>& past);
PlanTotals TotalsOf(const graph::Graph& graph, const std::vector<PlannedStep>& steps);

std::string PlanText(const graph::Graph& graph, const engine::Outcome& outcome, const std::vector<PlannedStep>& steps);
Json PlanJson(const graph::Graph& graph, const engine::Outcome& outcome, const std::vector<PlannedStep>& steps);

}  // namespace varve::cli
