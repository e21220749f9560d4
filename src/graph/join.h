// Several graphs as one, for a build of several platforms or targets: what they have in common is
// there once, so that it is resolved, looked up, run and shown once.
//
//   Joined joined = Join({amd64.graph, arm64.graph});
//   Ref root = joined.Place(1, arm64.root);     // where arm64's result is in joined.graph
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace varve::graph {

// Two steps with equal identities are one: the operation, the platform, the inputs by their place
// in the graph, and what CanonicalOp leaves out because it decides how a result is obtained and not
// what it is (credentials, limits, addresses, ids of cache mounts). Names and locations are not in
// it.
std::string Identity(const Step& step);

struct Joined {
  Graph graph;
  std::vector<std::vector<StepIndex>> places;  // [which graph][its step]

  Ref Place(size_t which, const Ref& ref) const { return {places[which][ref.step], ref.output}; }
};

// Steps keep their order, the first graph's first; a shared step has the name and the location that
// it has in the first graph. Equal steps of one graph stay apart, each under its own name: they are
// stages that happen to do the same, and the engine runs the second from the result of the first.
Joined Join(std::vector<Graph> graphs);

}  // namespace varve::graph
