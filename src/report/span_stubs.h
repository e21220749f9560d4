// The trace of a build as `docker buildx history trace` reads it: what Go's encoding/json makes of the
// tracetest.SpanStub of OpenTelemetry's Go SDK, an object a line. BuildKit's media type of it is kSpanStubs.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace varve::report {

inline constexpr std::string_view kSpanStubs = "application/vnd.buildkit.otlp.json.v0";

// `traces`: report/otlp.h, OtlpTraces.
std::string SpanStubs(const Json& traces);

}  // namespace varve::report
