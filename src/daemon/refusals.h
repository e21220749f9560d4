// What clients may not name, because it would be of this machine: they have files of their own.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "tier/spec.h"

namespace varve::daemon {

// A local cache and a key lie at the client: they are never files or variables of this machine.
Status RefuseClientsFiles(const std::vector<tier::Spec>& specs);

// So does the content store of an OCI layout.
Status RefuseClientsLayouts(const graph::Graph& graph);

}  // namespace varve::daemon
