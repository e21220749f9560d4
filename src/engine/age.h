// How old a result may be: what --cache-max-age asks of single steps, and what the rules of replaying ask
// of every step with a network.
#pragma once

#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/miss.h"
#include "engine/plan.h"

namespace varve::engine {

// What was asked of this step alone.
std::optional<AgeLimit> LimitOf(const Request& request, graph::StepIndex step);

// Why a record that is right is older than the user accepts: it was made too long ago, or on a result of a
// limited step that has been replaced since.
std::optional<Miss::Age> TooOld(const Request& request, const Plan& plan, graph::StepIndex step,
                                const cache::StepRecord& record, Timestamp now);

// Of earlier runs that might stand for the step.
std::vector<AgeLimit> LimitsOfReplays(const Request& request, graph::StepIndex step);

}  // namespace varve::engine
