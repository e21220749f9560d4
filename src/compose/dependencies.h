// What has to run before a service does, and what that order must not be.
#pragma once

#include <vector>

#include "compose/project.h"

namespace varve::compose {

// Adds to `depends_on` of a canonical service what other keys imply (compose-go,
// loader/normalize.go): links, volumes_from, and the namespaces of other services (`service:NAME`
// in network_mode, ipc, pid, uts and cgroup). What is written there stays as it is.
void AddImpliedDependencies(Node& service);

// kInvalid with the whole circle, "a -> b -> a", where active services wait for each other.
Status CheckCircles(const std::vector<Service>& services);

}  // namespace varve::compose
