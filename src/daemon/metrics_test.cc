#include "daemon/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/metric.h"
#include "report/example.h"

namespace varve::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const Metrics& metrics, const DaemonFacts& facts = {}) {
  return report::Render(metrics.Collect(facts, std::nullopt));
}

TEST(Metrics, BuildsOfAllProjectsAreSummedUp) {
  Metrics metrics;
  history::Build build = report::ExampleBuild();
  metrics.Ended(build);
  build.name = "another";
  metrics.Ended(build);
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr("varve_build_duration_seconds_count{project=\"\",target=\"\"} 2\n"));
  EXPECT_THAT(text, Not(HasSubstr("another")));
  EXPECT_THAT(text, Not(HasSubstr("varve_last_build")));
}

TEST(Metrics, SolvesAreCountedByTheirStatus) {
  Metrics metrics;
  metrics.Solved("OK");
  metrics.Solved("OK");
  metrics.Solved("UNAVAILABLE");
  EXPECT_THAT(Text(metrics), HasSubstr("varve_daemon_solves_total{status=\"OK\"} 2\n"
                                       "varve_daemon_solves_total{status=\"UNAVAILABLE\"} 1\n"));
}

TEST(Metrics, SayWhatTheDaemonDoes) {
  Counter("metrics_test.counter").Add(7);
  const std::string text = Text(Metrics(), {.running_builds = 2, .open_sessions = 3, .draining = true});
  EXPECT_THAT(text, HasSubstr("varve_daemon_builds_running 2\n"));
  EXPECT_THAT(text, HasSubstr("varve_daemon_sessions_open 3\n"));
  EXPECT_THAT(text, HasSubstr("varve_daemon_draining 1\n"));
  EXPECT_THAT(text, HasSubstr("varve_daemon_events_total{name=\"metrics_test.counter\"} " +
                              std::to_string(Counter("metrics_test.counter").value()) + "\n"));
}

// Clients name their caches, each build another one if they like.
TEST(Metrics, NamesOfCachesAreBounded) {
  Metrics metrics;
  history::Build build = report::ExampleBuild();
  for (int i = 0; i < 1000; ++i) {
    build.tiers = {{.name = "registry:r/" + std::to_string(i), .hits = 1}};
    metrics.Ended(build);
  }
  for (const report::Family& family : metrics.Collect({}, std::nullopt)) {
    if (family.name != "varve_tier_hits_total") continue;
    EXPECT_EQ(family.samples.size(), 101u);
    EXPECT_EQ(family.samples.back().value, 900);
  }
  EXPECT_THAT(Text(metrics), HasSubstr("varve_tier_hits_total{tier=\"other\"} 900\n"));
}

TEST(Metrics, OfTheProcessAreThoseOfThisOne) {
  std::map<std::string, double> values;
  for (const report::Family& family : ProcessMetrics()) values[family.name] = family.samples[0].value;
  EXPECT_GT(values["process_resident_memory_bytes"], 1 << 20);
  EXPECT_GE(values["process_threads"], 1);
  EXPECT_GE(values["process_open_fds"], 3);
  EXPECT_GE(values["process_max_fds"], values["process_open_fds"]);
  EXPECT_GT(values["process_start_time_seconds"], 1.6e9);
}

TEST(Metrics, StatusCodesHaveNames) {
  EXPECT_EQ(StatusCodeName(0), "OK");
  EXPECT_EQ(StatusCodeName(14), "UNAVAILABLE");
  EXPECT_EQ(StatusCodeName(99), "99");
}

}  // namespace
}  // namespace varve::daemon
