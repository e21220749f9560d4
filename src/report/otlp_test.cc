#include "report/otlp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/fd.h"
#include "report/example.h"
#include "report/otlp_settings.h"
#include "report/span_stubs.h"

namespace varve::report {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

void ExpectGoldenText(const std::string& name, const std::string& text) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/report/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  EXPECT_EQ(ReadFile(path).value_or("no golden file"), text);
}

void ExpectGolden(const std::string& name, const Json& json) {
  ExpectGoldenText(name, json.Dump({.indent = 2}) + "\n");
}

const Resource kResource = {{"service.name", "ci"}, {"host.name", "runner-1"}};
constexpr const char* kParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

const Json::Array& SpansOf(const Json& traces) {
  return traces.GetArray("resourceSpans").at(0).GetArray("scopeSpans").at(0).GetArray("spans");
}

std::string TextOf(const Json& span, const std::string& key) {
  for (const Json& attribute : span.GetArray("attributes")) {
    if (attribute.GetString("key") == key) return attribute.Find("value")->GetString("stringValue");
  }
  return "";
}

TEST(Otlp, TracesArePinned) { ExpectGolden("otlp-traces.json", OtlpTraces(ExampleBuild(), kResource, {})); }

TEST(Otlp, SpanStubsArePinned) {
  const std::string text = SpanStubs(OtlpTraces(ExampleBuild(), kResource, ParseTraceParent(kParent)));
  ExpectGoldenText("span-stubs.jsonl", text);
}

TEST(Otlp, MetricsArePinned) {
  Storage storage{.bytes = {{"regular", 5'000'000}},
                  .limit = 10'000'000,
                  .disk_free = 1,
                  .disk_total = 2,
                  .evicted = {{"rule", {3, 4'000}}}};
  history::Build build = ExampleBuild();
  ExpectGolden("otlp-metrics.json", OtlpMetrics(build, MetricsOf(build, storage), kResource));
}

TEST(Otlp, StepsAreBelowTheBuildAndItIsBelowItsCaller) {
  auto parent = ParseTraceParent(kParent);
  ASSERT_TRUE(parent);
  parent->state = "vendor=1";
  Json traces = OtlpTraces(ExampleBuild(), kResource, parent);
  const auto& spans = SpansOf(traces);
  EXPECT_EQ(spans[0].GetString("parentSpanId"), "00f067aa0ba902b7");
  std::map<std::string, std::string> parents;
  for (const Json& span : spans) {
    EXPECT_EQ(span.GetString("traceId"), "4bf92f3577b34da6a3ce929d0e0e4736");
    EXPECT_EQ(span.GetString("traceState"), "vendor=1");
    EXPECT_EQ(span.GetString("spanId").size(), 16u);
    EXPECT_TRUE(parents.emplace(span.GetString("spanId"), span.GetString("parentSpanId")).second) << "ids are unique";
  }
  for (size_t i = 1; i < spans.size(); ++i) EXPECT_TRUE(parents.contains(spans[i].GetString("parentSpanId")));
}

TEST(Otlp, FailuresAreErrorsWithTheirMessage) {
  history::Build build = ExampleBuild();
  build.status = history::BuildStatus::kFailed;
  build.error = "no space left";
  build.steps[3].fate = history::Fate::kFailed;
  build.steps[3].error = "exit code: 2";
  Json traces = OtlpTraces(build, kResource, {});
  EXPECT_EQ(SpansOf(traces)[0].Find("status")->GetInt("code"), 2);
  EXPECT_EQ(SpansOf(traces)[0].Find("status")->GetString("message"), "no space left");
  int failed = 0;
  for (const Json& span : SpansOf(traces)) {
    if (TextOf(span, "varve.step.outcome") != "failed") continue;
    ++failed;
    EXPECT_EQ(span.Find("status")->GetString("message"), "exit code: 2");
  }
  EXPECT_EQ(failed, 1);
}

TEST(Otlp, TraceParentOfTheStandard) {
  auto parent = ParseTraceParent(kParent);
  ASSERT_TRUE(parent);
  EXPECT_TRUE(parent->sampled);
  EXPECT_FALSE(ParseTraceParent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")->sampled);
  EXPECT_TRUE(ParseTraceParent("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
  for (const char* bad : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
                          "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                          "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                          "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz"}) {
    EXPECT_FALSE(ParseTraceParent(bad)) << bad;
  }
}

TEST(Otlp, WhatAServerDidNotTake) {
  EXPECT_EQ(PartialSuccess("{}"), "");
  EXPECT_EQ(PartialSuccess(""), "");
  EXPECT_EQ(PartialSuccess(R"({"partialSuccess":{}})"), "");
  EXPECT_EQ(PartialSuccess(R"({"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}})"),
            "2 spans were rejected: too old");
  EXPECT_EQ(PartialSuccess(R"({"partialSuccess":{"rejectedDataPoints":1,"errorMessage":"x"}})"),
            "1 data points were rejected: x");
  EXPECT_EQ(PartialSuccess(R"({"partialSuccess":{"errorMessage":"use v2"}})"), "use v2");
}

OtlpSettings Settings(const std::map<std::string, std::string>& values, const std::string& endpoint = "") {
  auto settings = ReadOtlpSettings(endpoint, [&](const std::string& name) -> std::optional<std::string> {
    auto it = values.find(name);
    if (it == values.end()) return std::nullopt;
    return it->second;
  });
  EXPECT_TRUE(settings);
  return settings ? *settings : OtlpSettings();
}

TEST(OtlpSettings, NothingIsSentUnlessAnEndpointIsNamed) {
  EXPECT_FALSE(Settings({}).any());
  EXPECT_FALSE(Settings({{"OTEL_SERVICE_NAME", "x"}, {"TRACEPARENT", kParent}}).any());
  EXPECT_FALSE(Settings({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, {"OTEL_SDK_DISABLED", "true"}}).any());
}

TEST(OtlpSettings, SignalsHaveTheirOwnOrTheCommonOnes) {
  OtlpSettings settings = Settings({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otlp/"},
                                    {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m/push"},
                                    {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x=1"},
                                    {"OTEL_EXPORTER_OTLP_METRICS_HEADERS", "y=2"},
                                    {"OTEL_EXPORTER_OTLP_TIMEOUT", "1500"},
                                    {"OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"}});
  EXPECT_EQ(settings.traces->url, "http://c:4318/otlp/v1/traces");
  EXPECT_EQ(settings.metrics->url, "https://m/push");
  EXPECT_THAT(settings.traces->headers, ::testing::ElementsAre(Pair("api-key", "a b"), Pair("x", "1")));
  EXPECT_THAT(settings.metrics->headers, ::testing::ElementsAre(Pair("y", "2")));
  EXPECT_EQ(settings.traces->timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(settings.traces->certificate, "/ca.pem");
  EXPECT_THAT(settings.resource, ::testing::ElementsAre(Pair("service.name", "varve")));
  EXPECT_THAT(settings.warnings, IsEmpty());
}

TEST(OtlpSettings, ResourceAndSwitches) {
  const std::string kEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
  OtlpSettings settings = Settings({{kEndpoint, "http://c:4318"},
                                    {"OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment=ci%2Fmain"},
                                    {"OTEL_TRACES_EXPORTER", "none"}});
  EXPECT_FALSE(settings.traces);
  EXPECT_TRUE(settings.metrics);
  EXPECT_THAT(settings.resource,
              ::testing::ElementsAre(Pair("service.name", "a"), Pair("deployment.environment", "ci/main")));
  settings = Settings(
      {{kEndpoint, "http://c:4318"}, {"OTEL_SERVICE_NAME", "b"}, {"OTEL_RESOURCE_ATTRIBUTES", "service.name=a"}});
  EXPECT_THAT(settings.resource, ::testing::ElementsAre(Pair("service.name", "b")));
}

TEST(OtlpSettings, AnUnsampledCallerHasNoTraces) {
  OtlpSettings settings = Settings({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"},
                                    {"TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}});
  EXPECT_FALSE(settings.traces);
  EXPECT_TRUE(settings.metrics);
}

TEST(OtlpSettings, GrpcIsSaidNotToBe) {
  OtlpSettings settings =
      Settings({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}});
  EXPECT_FALSE(settings.any());
  ASSERT_THAT(settings.warnings, SizeIs(1)) << "once, not for each signal";
  EXPECT_THAT(settings.warnings[0], HasSubstr("http/json"));
}

TEST(OtlpSettings, TheFlagWins) {
  OtlpSettings settings =
      Settings({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, {"OTEL_SDK_DISABLED", "true"}}, "http://d:1");
  EXPECT_EQ(settings.traces->url, "http://d:1/v1/traces");
  auto bad = ReadOtlpSettings("d:4318", [](const std::string&) { return std::nullopt; });
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("an address is expected"));
  OtlpSettings variable = Settings({{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"}});
  EXPECT_FALSE(variable.any()) << "a variable fails no build";
  EXPECT_THAT(variable.warnings, SizeIs(1));
}

}  // namespace
}  // namespace varve::report
