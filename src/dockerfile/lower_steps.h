// The graph while it grows: sources and helper steps that are equal exist once, whichever stages
// use them.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "graph/graph.h"

namespace varve::dockerfile {

class StepSet {
 public:
  graph::Ref Add(graph::Step step) { return {graph_.Add(std::move(step)), 0}; }

  // The step with this operation, platform and inputs if there is one, else `step`. A name that
  // says which stage uses the step ("[build 1/5] FROM …") wins over one that does not.
  graph::Ref AddOnce(graph::Step step);

  // Steps of another graph that `root` needs, added with AddOnce. `mapping`, if given, gets the new
  // indexes.
  graph::Ref Import(const graph::Graph& other, graph::Ref root, std::map<graph::StepIndex, graph::StepIndex>* mapping);

  const graph::Graph& graph() const { return graph_; }
  graph::Graph Take() { return std::move(graph_); }

 private:
  graph::Graph graph_;
  std::map<std::string, graph::StepIndex> known_;
};

}  // namespace varve::dockerfile
