// The trace of a build as `docker buildx history trace` reads it: what Go's encoding/json makes of the tracetest.SpanStub
// of OpenTelemetry's Go SDK, one object after the other, which is the media type kSpanStubs of BuildKit's.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace varve::report {

inline constexpr std::string_view kSpanStubs = "application/vnd.buildkit.otlp.json.v0";

// `traces`: report/otlp.h, OtlpTraces.
std::string SpanStubs(const Json& traces);

}  // namespace varve::report
