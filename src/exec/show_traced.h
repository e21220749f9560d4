// Files of a step's context shown by the file system that notes what is asked of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "exec/job.h"
#include "trace/traced_layers.h"

namespace varve::exec {

// Mounted on `point`, which is made. Null where that cannot be done, and the user is told once: the step runs
// without.
std::unique_ptr<trace::TracedLayers> ShowTraced(const Job& job, std::vector<trace::TracedLayers::Layer> layers,
                                                const std::string& point);

}  // namespace varve::exec
