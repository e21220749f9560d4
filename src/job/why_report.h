// Why steps ran, as text: a root cause once, below it the steps that ran only because of it.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/reason.h"
#include "graph/graph.h"

namespace varve::job {

struct WhyStep {
  std::string name;                     // "[build 2/5] RUN make"
  std::vector<engine::Reason> reasons;  // not empty
};

// The steps of a build that ran or failed.
std::vector<WhyStep> WhySteps(const graph::Graph& graph, const engine::Outcome& outcome);

// One line a step. Many steps that were never built are one line.
std::string WhyReport(const std::vector<WhyStep>& steps);
// All that is known of each.
std::string WhyInFull(const std::vector<WhyStep>& steps);

}  // namespace varve::job
