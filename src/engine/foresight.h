// What a dry run can tell of steps that Forecast() says would run: for which of them an earlier run would stand
// (engine/replay.h), and what their own results mean for the steps above.
//
// Goes through the steps once, from below. A copy's layer is foreseen from trees; a step on it is checked
// against earlier runs, those of tiers too, as a build would; what stands for it gives a layer for the next
// one. A step whose key waited for such a result is keyed and looked up. Nothing is fetched for it: above an
// image or the layer of a RUN that is not on this machine, nothing is told.
#pragma once

#include "engine/engine.h"
#include "engine/forecast.h"

namespace varve::engine {

// Forecast(), and more. `outcome` is the one in `known`.
void Foresee(const Known& known, const MissStores& stores, const Request& request, const Services& services,
             Outcome& outcome);

}  // namespace varve::engine
