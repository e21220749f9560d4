// What `varve verify` found, as text and as JSON.
#pragma once

#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "graph/graph.h"
#include "verify/compare_layers.h"

namespace varve::cli {

// A step whose two results differ in what it added itself.
struct StepDifference {
  graph::StepIndex step = 0;
  // An earlier step that differs and that this one builds on or reads; it explains this one.
  std::optional<graph::StepIndex> because_of;
  std::vector<verify::FileDifference> files;
  // The cached layer is not on this machine: names and kinds come from the trees, without contents.
  bool trees_only = false;
};

struct VerifyResult {
  // Image IDs, every time in them set to the epoch; of several platforms, of all configs together.
  Digest cached, fresh;
  std::vector<StepDifference> steps;  // in the order of the graph
  std::vector<std::string> config;    // members of the image config that differ
  bool equal() const { return cached == fresh; }
};

// `all`: every file; else ten a step and how many more.
std::string ToText(const VerifyResult& result, const graph::Graph& graph, bool all);
Json ToJson(const VerifyResult& result, const graph::Graph& graph);

}  // namespace varve::cli
