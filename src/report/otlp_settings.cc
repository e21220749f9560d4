#include "report/otlp_settings.h"

#include <algorithm>

#include "base/percent.h"
#include "base/strings.h"

namespace varve::report {
namespace {

// W3C Baggage's list without properties: "a=1,b=two%20words".
std::vector<std::pair<std::string, std::string>> PairsOf(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string& part : Split(text, ',')) {
    size_t equals = part.find('=');
    if (equals == part.npos) continue;
    std::string name(TrimSpace(std::string_view(part).substr(0, equals)));
    if (!name.empty()) out.emplace_back(name, PercentDecode(TrimSpace(std::string_view(part).substr(equals + 1))));
  }
  return out;
}

class Reader {
 public:
  Reader(const std::string& endpoint, const Environment& environment)
      : endpoint_(endpoint), environment_(environment) {}

  Result<OtlpSettings> Run() {
    if (ToLower(Get("OTEL_SDK_DISABLED")) == "true" && endpoint_.empty()) return OtlpSettings();
    TRY_ASSIGN(out_.traces, Target("TRACES", "v1/traces"));
    TRY_ASSIGN(out_.metrics, Target("METRICS", "v1/metrics"));
    if (!out_.any()) return std::move(out_);
    out_.parent = ParseTraceParent(Get("TRACEPARENT"));
    if (out_.parent) out_.parent->state = Get("TRACESTATE");
    if (out_.parent && !out_.parent->sampled) out_.traces.reset();
    std::string service = Get("OTEL_SERVICE_NAME");
    for (auto& [name, value] : PairsOf(Get("OTEL_RESOURCE_ATTRIBUTES"))) {
      if (name != "service.name") out_.resource.emplace_back(name, value);
      else if (service.empty()) service = value;
    }
    out_.resource.insert(out_.resource.begin(), {"service.name", service.empty() ? "varve" : service});
    return std::move(out_);
  }

 private:
  std::string Get(const std::string& name) const { return environment_(name).value_or(""); }
  // OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, else OTEL_EXPORTER_OTLP_TIMEOUT.
  std::string GetOf(const std::string& signal, const std::string& name) const {
    std::string own = Get("OTEL_EXPORTER_OTLP_" + signal + "_" + name);
    return own.empty() ? Get("OTEL_EXPORTER_OTLP_" + name) : own;
  }

  Result<std::optional<OtlpTarget>> Target(const std::string& signal, const std::string& path) {
    OtlpTarget target;
    std::string base = endpoint_.empty() ? Get("OTEL_EXPORTER_OTLP_ENDPOINT") : endpoint_;
    std::string own = endpoint_.empty() ? Get("OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT") : "";
    // A signal's own address is taken as it is; the common one gets the signal's path.
    target.url = !own.empty() ? own : base.empty() ? "" : base + (base.ends_with('/') ? "" : "/") + path;
    if (target.url.empty()) return std::optional<OtlpTarget>();
    if (Get("OTEL_" + signal + "_EXPORTER") == "none" && endpoint_.empty()) return std::optional<OtlpTarget>();
    if (!target.url.starts_with("http://") && !target.url.starts_with("https://")) {
      // A variable that somebody else's program understands fails no build.
      std::string said = own.empty() ? base : own;
      if (!endpoint_.empty()) return Invalid("--otlp {}: an address is expected, http://HOST:4318", said);
      Warn(fmt::format("OTEL_EXPORTER_OTLP_ENDPOINT={}: an address is expected, http://HOST:4318", said));
      return std::optional<OtlpTarget>();
    }
    std::string protocol = GetOf(signal, "PROTOCOL");
    if (protocol == "grpc" && endpoint_.empty()) {
      Warn(
          "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: varve speaks OTLP over HTTP only; set it to "
          "http/json, and the endpoint to "
          "the port for HTTP (4318)");
      return std::optional<OtlpTarget>();
    }
    target.headers = PairsOf(GetOf(signal, "HEADERS"));
    if (auto millis = ParseInt(GetOf(signal, "TIMEOUT")); millis && *millis > 0) {
      target.timeout = std::chrono::milliseconds(*millis);
    }
    target.certificate = GetOf(signal, "CERTIFICATE");
    return std::optional(std::move(target));
  }

  void Warn(std::string text) {
    if (std::ranges::find(out_.warnings, text) == out_.warnings.end()) out_.warnings.push_back(std::move(text));
  }

  const std::string& endpoint_;
  const Environment& environment_;
  OtlpSettings out_;
};

}  // namespace

Result<OtlpSettings> ReadOtlpSettings(const std::string& endpoint, const Environment& environment) {
  return Reader(endpoint, environment).Run();
}

}  // namespace varve::report
