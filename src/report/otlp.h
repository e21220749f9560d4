// Builds as OpenTelemetry traces and metrics, in the JSON encoding of OTLP 1.x
// (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding"): ids are hex, 64-bit numbers are
// strings, enumerations are numbers, names are lowerCamelCase.
//
// A trace is a build: one span for it, one below it for each step that was looked at, and below
// those the parts that have a time of their own, such as a layer's download. Metrics are those of
// report/prometheus.h; a build counts from zero, so that sums are deltas.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "history/build.h"
#include "report/prometheus.h"

namespace varve::report {

// W3C Trace Context, the environment's TRACEPARENT and TRACESTATE: whose part this build is.
struct TraceParent {
  std::string trace_id;  // 32 hex digits
  std::string span_id;   // 16
  bool sampled = true;
  std::string state;
};
// Nothing for what is not "00-TRACE-SPAN-FLAGS", or has an id of zeros (section 3.2.2.3).
std::optional<TraceParent> ParseTraceParent(std::string_view text);

// Of the process that sends: service.name, and what else was configured.
using Resource = std::vector<std::pair<std::string, std::string>>;

// Bodies of POST /v1/traces and /v1/metrics. Ids are made of the build's id: the same build has the
// same trace however often it is sent.
Json OtlpTraces(const history::Build& build, const Resource& resource, const std::optional<TraceParent>& parent);
Json OtlpMetrics(const history::Build& build, const std::vector<Family>& families, const Resource& resource);

// What a server says of a request that it took: how much of it it did not, "" for nothing.
std::string PartialSuccess(std::string_view reply);

}  // namespace varve::report
