#include "report/span_stubs.h"

#include <map>

#include "base/clock.h"
#include "base/strings.h"

namespace varve::report {

namespace {

// OTLP writes 64-bit numbers as strings.
int64_t Int64(const Json& json, std::string_view key) { return ParseInt(json.GetString(key)).value_or(0); }

Json Typed(const char* type, Json value) { return Json().Set("Type", type).Set("Value", std::move(value)); }

Json ValueOf(const Json& value) {
  if (const Json* list = value.Find("arrayValue")) {
    Json texts = Json::EmptyArray();
    for (const Json& item : list->GetArray("values")) texts.Append(item.GetString("stringValue"));
    return Typed("STRINGSLICE", std::move(texts));
  }
  if (value.Find("intValue") != nullptr) return Typed("INT64", Int64(value, "intValue"));
  if (const Json* number = value.Find("doubleValue")) return Typed("FLOAT64", number->as_double());
  return Typed("STRING", value.GetString("stringValue"));
}

Json Attributes(const Json& owner) {
  Json attributes = Json::EmptyArray();
  for (const Json& attribute : owner.GetArray("attributes")) {
    attributes.Append(Json().Set("Key", attribute.GetString("key")).Set("Value", ValueOf(*attribute.Find("value"))));
  }
  return attributes;
}

Json Context(const Json& span, const char* id) {
  const std::string text = span.GetString(id);
  return Json()
      .Set("TraceID", text.empty() ? std::string(32, '0') : span.GetString("traceId"))
      .Set("SpanID", text.empty() ? std::string(16, '0') : text)
      .Set("TraceFlags", text.empty() ? "00" : "01")
      .Set("TraceState", span.GetString("traceState"))
      .Set("Remote", false);
}

Json Time(const Json& span, std::string_view key) { return FormatTime(Timestamp{Int64(span, key)}); }

Json Stub(const Json& span, const Json& resource, const Json& scope, int children) {
  const Json* status = span.Find("status");
  return Json()
      .Set("Name", span.GetString("name"))
      .Set("SpanContext", Context(span, "spanId"))
      .Set("Parent", Context(span, "parentSpanId"))
      .Set("SpanKind", span.GetInt("kind"))
      .Set("StartTime", Time(span, "startTimeUnixNano"))
      .Set("EndTime", Time(span, "endTimeUnixNano"))
      .Set("Attributes", Attributes(span))
      .Set("Events", nullptr)
      .Set("Links", nullptr)
      .Set("Status", Json()
                         .Set("Code", status == nullptr ? "Unset" : "Error")
                         .Set("Description", status == nullptr ? "" : status->GetString("message")))
      .Set("DroppedAttributes", 0)
      .Set("DroppedEvents", 0)
      .Set("DroppedLinks", 0)
      .Set("ChildSpanCount", children)
      .Set("Resource", resource)
      .Set("InstrumentationLibrary",
           Json().Set("Name", scope.GetString("name")).Set("Version", scope.GetString("version")).Set("SchemaURL", ""));
}

}  // namespace

std::string SpanStubs(const Json& traces) {
  std::string text;
  for (const Json& of_resource : traces.GetArray("resourceSpans")) {
    const Json resource = Attributes(*of_resource.Find("resource"));
    for (const Json& of_scope : of_resource.GetArray("scopeSpans")) {
      const Json::Array& spans = of_scope.GetArray("spans");
      std::map<std::string, int> children;
      for (const Json& span : spans) ++children[span.GetString("parentSpanId")];
      for (const Json& span : spans) {
        const Json stub = Stub(span, resource, *of_scope.Find("scope"), children[span.GetString("spanId")]);
        text += stub.Dump() + "\n";
      }
    }
  }
  return text;
}

}  // namespace varve::report
