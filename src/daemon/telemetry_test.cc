#include "daemon/telemetry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/guarded.h"
#include "report/example.h"

namespace varve::daemon {
namespace {

constexpr char kTraceparent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr char kUnsampled[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

report::OtlpSettings Settings() {
  return {.traces = report::OtlpTarget{.url = "http://c/v1/traces"},
          .metrics = report::OtlpTarget{.url = "http://c/v1/metrics"}};
}

struct Sent {
  std::vector<std::string> urls;
  std::vector<std::string> bodies;
};

// All that was given to a Telemetry that has ended.
Sent Send(const report::OtlpSettings& settings, const std::vector<std::string>& traceparents, Status answer = Ok()) {
  Guarded<Sent> sent;
  {
    Telemetry telemetry(settings, [&](const report::OtlpTarget& target, const Json& body) {
      auto all = sent.Lock();
      all->urls.push_back(target.url);
      all->bodies.push_back(body.Dump());
      return answer;
    });
    for (const std::string& traceparent : traceparents) telemetry.Ended(report::ExampleBuild(), traceparent);
  }
  return *sent.Lock();
}

TEST(Telemetry, ABuildIsPartOfItsClientsTrace) {
  Sent sent = Send(Settings(), {kTraceparent});
  ASSERT_EQ(sent.urls, (std::vector<std::string>{"http://c/v1/traces", "http://c/v1/metrics"}));
  EXPECT_NE(sent.bodies[0].find("\"traceId\":\"4bf92f3577b34da6a3ce929d0e0e4736\""), std::string::npos);
  EXPECT_NE(sent.bodies[0].find("\"parentSpanId\":\"00f067aa0ba902b7\""), std::string::npos);
}

TEST(Telemetry, AnUnsampledClientHasNoTrace) {
  EXPECT_EQ(Send(Settings(), {kUnsampled}).urls, (std::vector<std::string>{"http://c/v1/metrics"}));
}

TEST(Telemetry, WithoutACollectorNothingIsSent) { EXPECT_TRUE(Send({}, {kTraceparent, ""}).urls.empty()); }

// What waits at the end is sent, but a collector that does not answer is asked once and not for each build.
TEST(Telemetry, TheEndSendsWhatWaits) { EXPECT_EQ(Send(Settings(), {"", "", ""}).urls.size(), 6u); }

TEST(Telemetry, ACollectorThatRefusesTheTraceIsNotSentTheMetrics) {
  Sent sent = Send(Settings(), {""}, Unavailable("no"));
  EXPECT_EQ(sent.urls, (std::vector<std::string>{"http://c/v1/traces"}));
}

}  // namespace
}  // namespace varve::daemon
