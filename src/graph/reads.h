// How a step uses each of its inputs: the split that the key of a step rests on (design: "one key,
// no negotiation").
//
// An input is *lineage* when all of it may reach the result: the file system that the step writes on.
// It enters the key as the parent's own key. Every other input is *read*: only selected files of it
// can matter (read-only, or what is written to it is discarded; invariant I3), so it enters the key
// as the digest of what is selected.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace varve::graph {

struct InputUse {
  int input = 0;  // index into Step::inputs
  bool lineage = false;
  std::vector<tree::Selector> selectors;  // of a read input
};

// One entry per input, in order of input index. An input with several uses has its selectors joined;
// one that is lineage anywhere is lineage.
std::vector<InputUse> InputUses(const Step& step);

// What the steps of the graph read of the source step `source`: the paths that a walk of a context
// has to reach. Empty selectors stand for all of it.
std::vector<tree::Selector> Reach(const Graph& graph, StepIndex source);

}  // namespace varve::graph
