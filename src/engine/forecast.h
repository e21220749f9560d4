// What the coordinator knows of a build under way, put together to say why steps run; and the forecast of
// a dry run, which is that for steps that do not run.
//
// Coordinator thread only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/miss.h"
#include "engine/plan.h"

namespace varve::engine {

// The coordinator's state, to be looked at. Indexed by step unless it says otherwise.
struct Known {
  const graph::Graph& graph;
  const Plan& plan;
  const std::vector<std::optional<Pin>>& pins;
  const std::vector<std::shared_ptr<const KeyedStep>>& keyed;
  const std::vector<std::string>& slots;
  const std::map<graph::StepIndex, Miss::Lost>& lost;  // hits whose layers could not be had
  const std::map<graph::StepIndex, Miss::Age>& too_old;
  const std::optional<Error>& look_up_error;
  const std::shared_ptr<const std::set<Digest>>& ops;
  const Timestamp& began;
  const Outcome& outcome;
};

// A slot names "the same step of the same file" across builds: project, stage, position in it. By step.
std::vector<std::string> SlotsOf(const Request& request);

// A step as messages name it when others read from it.
std::string NameOf(const graph::Step& step);

// All that may explain why a step runs, as of now; what is returned may go to another thread.
Miss MissOf(const Known& known, graph::StepIndex step);

void SetReasons(const ExplainedMiss& why, StepOutcome& step);

// Fills in what the plan says of each step, and why. `outcome` is the one in `known`.
void Forecast(const Known& known, const MissStores& stores, Outcome& outcome);

}  // namespace varve::engine
