// Of many hits, those that no other one builds on.
#pragma once

#include <optional>
#include <vector>

#include "cache/step_record.h"

namespace varve::engine {

// Results that together have nearly all layers of all the records' results: of a chain of steps the last. To lease
// them first leases all in one go, where one hit after the other took five system calls each.
std::vector<cache::Rootfs> Topmost(const std::vector<std::optional<cache::StepRecord>>& records);

}  // namespace varve::engine
