// Durations as the flags of HEALTHCHECK write them.
#pragma once

#include <chrono>
#include <string_view>

#include "base/result.h"

namespace varve::dockerfile {

// Go's time.ParseDuration: "1h15m30.918s", "-1.5h", "300ms"; units ns us µs ms s m h.
Result<std::chrono::nanoseconds> ParseDuration(std::string_view text);

}  // namespace varve::dockerfile
