// Where OpenTelemetry data go: the environment variables of its specification
// (opentelemetry.io/docs/specs/otel/protocol/exporter,
// .../configuration/sdk-environment-variables).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "report/otlp.h"

namespace varve::report {

// One of the two signals.
struct OtlpTarget {
  std::string url;  // with its path: "http://localhost:4318/v1/traces"
  std::vector<std::pair<std::string, std::string>> headers;
  std::chrono::milliseconds timeout{10'000};
  std::string certificate;  // PEM file of a CA to trust
};

struct OtlpSettings {
  std::optional<OtlpTarget> traces, metrics;
  Resource resource;
  std::optional<TraceParent> parent;  // an unsampled one means that there are no traces
  std::vector<std::string> warnings;  // what was asked for and is not done

  bool any() const { return traces || metrics; }
};

// The value of a variable; nothing where it is not set. An empty one is as good as none.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// `endpoint`: of a flag, wins over OTEL_EXPORTER_OTLP_ENDPOINT; empty: none. Nothing is exported
// unless an endpoint is named. kInvalid for a flag that is no http address; a variable that is none
// is a warning.
Result<OtlpSettings> ReadOtlpSettings(const std::string& endpoint, const Environment& environment);

}  // namespace varve::report
