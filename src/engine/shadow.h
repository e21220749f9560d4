// Replays that are checked: a sample of the steps for which an earlier run stood is run for real, once the
// build has its result, and a weak key whose results differ is disowned (--trace-shadow=N%).
//
// A step that gives something else each time differs from itself: it is not replayed any more then, and its
// record goes, so that the next build runs it.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "engine/interfaces.h"
#include "engine/replay.h"

namespace varve::engine {

// Which steps, told by their keys: a key is replayed once.
bool IsSampled(const StepKey& key, int percent);

struct ShadowResult {
  graph::StepIndex step = 0;
  bool differs = false;
  std::string text;  // for people: "run for real, it gave the same"
};

// One after the other; what they print goes nowhere.
std::vector<ShadowResult> RunShadows(const std::vector<ShadowRun>& shadows, const ReplayStores& stores,
                                     std::stop_token stop);

// Tells of them in the steps' outcomes.
void NoteShadows(const std::vector<ShadowResult>& results, std::vector<StepOutcome>& steps);

}  // namespace varve::engine
