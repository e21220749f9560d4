#include "report/otlp.h"

#include <algorithm>

#include "base/digest.h"
#include "base/strings.h"

namespace varve::report {
namespace {

using history::Build;
using history::Fate;
using history::Step;

constexpr int kInternalSpan = 1;  // SpanKind
constexpr int kStatusError = 2;   // StatusCode
constexpr int kDelta = 1;         // AggregationTemporality

std::string Id(const std::string& text, size_t digits) { return Digest::Of(text).Hex().substr(0, digits); }

std::string Nano(int64_t nanos) { return std::to_string(nanos); }

class Attributes {
 public:
  Attributes& Text(std::string_view key, const std::string& value) {
    if (!value.empty()) Add(key, Json().Set("stringValue", value));
    return *this;
  }
  Attributes& Int(std::string_view key, int64_t value) {
    return Add(key, Json().Set("intValue", std::to_string(value)));
  }
  Attributes& Double(std::string_view key, double value) { return Add(key, Json().Set("doubleValue", value)); }
  Attributes& Texts(std::string_view key, const std::vector<std::string>& values) {
    if (values.empty()) return *this;
    Json list = Json::EmptyArray();
    for (const std::string& value : values) list.Append(Json().Set("stringValue", value));
    return Add(key, Json().Set("arrayValue", Json().Set("values", std::move(list))));
  }
  Json Take() { return std::move(list_); }

 private:
  Attributes& Add(std::string_view key, Json value) {
    list_.Append(Json().Set("key", key).Set("value", std::move(value)));
    return *this;
  }
  Json list_ = Json::EmptyArray();
};

Json ResourceJson(const Resource& resource) {
  Attributes attributes;
  for (const auto& [key, value] : resource) attributes.Text(key, value);
  return Json().Set("attributes", attributes.Take());
}

Json ScopeJson(const Build& build) { return Json().Set("name", "varve").Set("version", build.varve_version); }

double Seconds(Nanos nanos) { return static_cast<double>(nanos.count()) / 1e9; }

// --- Traces ----------------------------------------------------------------------------------------

class Tracer {
 public:
  Tracer(const Build& build, const std::optional<TraceParent>& parent)
      : build_(build), parent_(parent), trace_(parent ? parent->trace_id : Id("trace " + build.id, 32)),
        root_(Id("build " + build.id, 16)) {}

  Json Run() {
    AddBuild();
    for (const Step& step : build_.steps) {
      if (step.fate != Fate::kSkipped || step.started.nanos != 0) AddStep(step);
    }
    return std::move(spans_);
  }

 private:
  Json Span(const std::string& id, const std::string& parent, const std::string& name, int64_t start, int64_t end,
            Json attributes, const std::string* error) const {
    Json span = Json().Set("traceId", trace_).Set("spanId", id);
    if (parent_ && !parent_->state.empty()) span.Set("traceState", parent_->state);
    span.SetIf(!parent.empty(), "parentSpanId", parent);
    // W3C's flags in the low byte: sampled.
    span.Set("flags", 1).Set("name", name).Set("kind", kInternalSpan);
    span.Set("startTimeUnixNano", Nano(start)).Set("endTimeUnixNano", Nano(std::max(start, end)));
    span.Set("attributes", std::move(attributes));
    if (error != nullptr) {
      Json status = Json().Set("code", kStatusError);
      span.Set("status", status.SetIf(!error->empty(), "message", *error));
    }
    return span;
  }

  void AddBuild() {
    history::Ratios ratios = RatiosOf(build_);
    Attributes attributes;
    attributes.Text("varve.build.id", build_.id).Text("varve.build.command", build_.command);
    attributes.Text("varve.project", build_.name).Text("varve.target", build_.target);
    attributes.Texts("varve.platforms", build_.platforms).Texts("container.image.tags", build_.tags);
    attributes.Text("varve.build.status", std::string(StatusName(build_.status)));
    attributes.Int("varve.steps.cached", ratios.cached).Int("varve.steps.ran", ratios.ran);
    attributes.Double("varve.saved_seconds", Seconds(ratios.saved));
    attributes.Double("varve.spent_seconds", Seconds(ratios.spent));
    attributes.Int("varve.new_bytes", static_cast<int64_t>(ratios.new_bytes));
    attributes.Text("oci.manifest.digest", build_.image);
    if (build_.exit_code != 0) attributes.Int("process.exit.code", build_.exit_code);
    bool failed = build_.status != history::BuildStatus::kCompleted;
    spans_.Append(Span(root_, parent_ ? parent_->span_id : "", fmt::format("varve {} {}", build_.command, build_.name),
                       build_.started.nanos, build_.ended.nanos, attributes.Take(), failed ? &build_.error : nullptr));
  }

  void AddStep(const Step& step) {
    std::string id = Id(fmt::format("step {} {}", build_.id, step.index), 16);
    Attributes attributes;
    attributes.Int("varve.step.index", step.index).Text("varve.step.stage", step.stage);
    attributes.Text("varve.step.outcome", std::string(FateName(step.fate)));
    attributes.Text("varve.step.reason", step.why);
    if (step.reasons.is_array() && !step.reasons.as_array().empty()) {
      attributes.Text("varve.step.reason.kind", step.reasons.as_array()[0].GetString("kind"));
    }
    attributes.Text("varve.step.key", step.key).Text("varve.step.tier", step.tier);
    if (step.new_bytes > 0) attributes.Int("varve.step.new_bytes", static_cast<int64_t>(step.new_bytes));
    if (step.saved.count() > 0) attributes.Double("varve.step.saved_seconds", Seconds(step.saved));
    // A hit that moved nothing has no time of its own.
    int64_t start = step.started.nanos != 0 ? step.started.nanos : build_.started.nanos;
    std::string error = step.error;
    spans_.Append(Span(id, root_, step.name, start, start + step.wall.count(), attributes.Take(),
                       step.fate == Fate::kFailed ? &error : nullptr));
    for (size_t i = 0; i < step.parts.size(); ++i) {
      const history::Part& part = step.parts[i];
      Attributes of_part;
      if (part.bytes > 0) of_part.Int("varve.bytes", static_cast<int64_t>(part.bytes));
      std::string part_id = Id(fmt::format("part {} {} {}", build_.id, step.index, i), 16);
      spans_.Append(Span(part_id, id, part.name, part.started.nanos, part.started.nanos + part.wall.count(),
                         of_part.Take(), nullptr));
    }
  }

  const Build& build_;
  const std::optional<TraceParent>& parent_;
  const std::string trace_, root_;
  Json spans_ = Json::EmptyArray();
};

// --- Metrics ---------------------------------------------------------------------------------------

// OpenTelemetry keeps units out of names; what exports to Prometheus puts them back, so that
// varve_step_run_seconds_total is the same name by both ways.
struct Instrument {
  std::string name, unit;
};
Instrument InstrumentOf(const Family& family) {
  std::string name = family.name;
  auto strip = [&](std::string_view suffix) {
    if (!name.ends_with(suffix)) return false;
    name.resize(name.size() - suffix.size());
    return true;
  };
  if (family.type == "counter") strip("_total");
  Instrument out;
  if (strip("_seconds")) out.unit = "s";
  else if (strip("_bytes")) out.unit = "By";
  else if (strip("_ratio")) out.unit = "1";
  size_t first = name.find('_');
  if (first != name.npos) name[first] = '.';
  out.name = name;
  return out;
}

Json AttributesOf(const Labels& labels) {
  Attributes attributes;
  for (const auto& [name, value] : labels) {
    if (name != "le") attributes.Text(name, value);
  }
  return attributes.Take();
}

// Counts and bytes are whole numbers, seconds and ratios are not: one type for all points of a
// metric.
void SetNumber(Json& point, double value, const std::string& unit) {
  bool whole = unit.empty() || unit == "By";
  if (whole) point.Set("asInt", std::to_string(static_cast<int64_t>(value)));
  else point.Set("asDouble", value);
}

class Meter {
 public:
  explicit Meter(const Build& build) : build_(build) {}

  Json Metric(const Family& family) const {
    Instrument instrument = InstrumentOf(family);
    Json metric = Json().Set("name", instrument.name).Set("description", family.help);
    metric.SetIf(!instrument.unit.empty(), "unit", instrument.unit);
    if (family.type == "histogram") return metric.Set("histogram", Histogram(family));
    Json points = Json::EmptyArray();
    for (const Sample& sample : family.samples) {
      Json point = Point(sample.labels, family.type == "counter");
      SetNumber(point, sample.value, instrument.unit);
      points.Append(std::move(point));
    }
    Json data = Json().Set("dataPoints", std::move(points));
    if (family.type != "counter") return metric.Set("gauge", std::move(data));
    data.Set("aggregationTemporality", kDelta).Set("isMonotonic", true);
    return metric.Set("sum", std::move(data));
  }

 private:
  Json Point(const Labels& labels, bool has_start) const {
    Json point = Json().Set("attributes", AttributesOf(labels));
    if (has_start) point.Set("startTimeUnixNano", Nano(build_.started.nanos));
    return point.Set("timeUnixNano", Nano(build_.ended.nanos));
  }

  // Buckets of the text format count what is at most their bound; these what lies between two.
  Json Histogram(const Family& family) const {
    Json bounds = Json::EmptyArray(), counts = Json::EmptyArray();
    Json point = Point(family.samples.empty() ? Labels() : family.samples[0].labels, true);
    double below = 0, sum = 0, count = 0;
    for (const Sample& sample : family.samples) {
      if (sample.suffix == "_sum") sum = sample.value;
      if (sample.suffix == "_count") count = sample.value;
      if (sample.suffix != "_bucket") continue;
      std::string bound;
      for (const auto& [name, value] : sample.labels) {
        if (name == "le") bound = value;
      }
      if (bound != "+Inf") bounds.Append(std::strtod(bound.c_str(), nullptr));
      counts.Append(std::to_string(static_cast<int64_t>(sample.value - below)));
      below = sample.value;
    }
    point.Set("count", std::to_string(static_cast<int64_t>(count))).Set("sum", sum);
    point.Set("bucketCounts", std::move(counts)).Set("explicitBounds", std::move(bounds));
    return Json().Set("dataPoints", Json().Append(std::move(point))).Set("aggregationTemporality", kDelta);
  }

  const Build& build_;
};

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == text.npos && text.find_first_not_of('0') != text.npos;
}

}  // namespace

std::optional<TraceParent> ParseTraceParent(std::string_view text) {
  text = TrimSpace(text);
  // version "-" trace-id "-" parent-id "-" trace-flags; later versions may add more behind another
  // "-".
  constexpr size_t kSize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
  if (text.size() < kSize || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  if (text.size() > kSize && (text.starts_with("00") || text[kSize] != '-')) return std::nullopt;
  auto flags = ParseInt(text.substr(53, 2), 16);
  TraceParent parent{
      .trace_id = std::string(text.substr(3, 32)), .span_id = std::string(text.substr(36, 16)), .state = {}};
  if (text.starts_with("ff") || !IsHex(parent.trace_id) || !IsHex(parent.span_id) || !flags) return std::nullopt;
  parent.sampled = (*flags & 1) != 0;
  return parent;
}

Json OtlpTraces(const Build& build, const Resource& resource, const std::optional<TraceParent>& parent) {
  Json scope = Json().Set("scope", ScopeJson(build)).Set("spans", Tracer(build, parent).Run());
  Json spans = Json().Set("resource", ResourceJson(resource)).Set("scopeSpans", Json().Append(std::move(scope)));
  return Json().Set("resourceSpans", Json().Append(std::move(spans)));
}

Json OtlpMetrics(const Build& build, const std::vector<Family>& families, const Resource& resource) {
  Json list = Json::EmptyArray();
  Meter meter(build);
  for (const Family& family : families) list.Append(meter.Metric(family));
  Json scope = Json().Set("scope", ScopeJson(build)).Set("metrics", std::move(list));
  Json metrics = Json().Set("resource", ResourceJson(resource)).Set("scopeMetrics", Json().Append(std::move(scope)));
  return Json().Set("resourceMetrics", Json().Append(std::move(metrics)));
}

std::string PartialSuccess(std::string_view reply) {
  auto json = Json::Parse(reply);
  const Json* partial = json ? json->Find("partialSuccess") : nullptr;
  if (partial == nullptr) return "";
  // 64-bit numbers are strings, though not everybody's.
  auto rejected = [&](std::string_view key) {
    int64_t number = partial->GetInt(key);
    return number != 0 ? std::to_string(number) : partial->GetString(key, "0");
  };
  std::string message = partial->GetString("errorMessage");
  std::string spans = rejected("rejectedSpans"), points = rejected("rejectedDataPoints");
  if (spans != "0") return fmt::format("{} spans were rejected: {}", spans, message);
  if (points != "0") return fmt::format("{} data points were rejected: {}", points, message);
  return message;
}

}  // namespace varve::report
