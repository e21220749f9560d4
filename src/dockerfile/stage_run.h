// RUN and its mounts (reference dockerfile.md §4).
#pragma once

#include "dockerfile/stage_lower.h"

namespace varve::dockerfile {

Status LowerRun(const CommandScope& scope, const Run& run);

}  // namespace varve::dockerfile
