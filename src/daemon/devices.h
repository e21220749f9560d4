// Which devices of this machine (sandbox/cdi.h) a build may have: those that its client grants it, by name or under an
// alias, and those that everybody may have.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "api/worker.pb.h"
#include "base/result.h"
#include "graph/graph.h"
#include "sandbox/cdi.h"

namespace varve::daemon {

struct DeviceRules {
  std::set<std::string> allowed = {};  // for everybody: "vendor.com/gpu=0", or a kind, "vendor.com/gpu"
};

// `granted`: the entitlements of the build: "device" for all devices, "device=NAME", "device=NAME,alias=OTHER"; others
// do not count. What a step asks for by an alias, it gets as what it stands for. kInvalid in BuildKit's words for what
// is there and was not granted; what is not there is judged when the step runs.
Status GrantDevices(graph::Graph& graph, const std::vector<std::string>& granted, const DeviceRules& rules,
                    const sandbox::CdiRegistry& devices);

// The same with the devices of this machine, which are looked at where a step asks for some.
Status GrantDevices(graph::Graph& graph, const std::vector<std::string>& granted, const DeviceRules& rules);

void FillDevices(const DeviceRules& rules, const sandbox::CdiRegistry& devices,
                 moby::buildkit::v1::types::WorkerRecord& worker);

}  // namespace varve::daemon
