// OpenTelemetry data to a collector: OTLP over HTTP, JSON.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "report/otlp_settings.h"

namespace varve::job {

// Blocks until the collector has it, or the target's timeout is over. What the protocol calls
// retryable (429, 502, 503, 504) is sent again within it. kUnavailable for a collector that does
// not answer or refuses, kInvalid for data that it did not take.
Status SendOtlp(const report::OtlpTarget& target, const Json& body);

}  // namespace varve::job
