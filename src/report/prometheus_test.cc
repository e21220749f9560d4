#include "report/prometheus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/fd.h"
#include "report/example.h"

namespace varve::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Storage ExampleStorage() {
  return {.bytes = {{"regular", 5'000'000'000}, {"exec.cachemount", 1'000'000}},
          .limit = 10'000'000'000,
          .disk_free = 20'000'000'000,
          .disk_total = 100'000'000'000,
          .evicted = {{"policy 2 (maxUsedSpace 10 GB)", {3, 400'000'000}}}};
}

std::string Lines(const std::string& text, const std::string& beginning) {
  std::string out;
  size_t at = 0;
  while ((at = text.find("\n" + beginning, at)) != text.npos) {
    size_t end = text.find('\n', at + 1);
    out += text.substr(at + 1, end - at);
    at = end;
  }
  return out;
}

TEST(Prometheus, TextIsPinned) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/report/metrics.prom";
  std::string text = Render(MetricsOf(ExampleBuild(), ExampleStorage()));
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  EXPECT_EQ(ReadFile(path).value_or("no golden file"), text);
}

TEST(Prometheus, WhatIsRenderedIsReadBack) {
  history::Build build = ExampleBuild();
  build.name = "a\"b\\c\nd{e}=f,g";
  std::string text = Render(MetricsOf(build, ExampleStorage()));
  auto read = ParseMetrics(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(Render(*read), text);
}

TEST(Prometheus, CountersGoOnAndGaugesAreReplaced) {
  history::Build build = ExampleBuild();
  auto once = ParseMetrics(Render(MetricsOf(build, ExampleStorage()))).value();
  build.images[0].platform = "linux/arm64";
  std::string twice = Render(Added(once, MetricsOf(build, ExampleStorage())));
  EXPECT_THAT(twice, HasSubstr("varve_builds_total{project=\"web\",target=\"\",status=\"completed\"} 2\n"));
  EXPECT_THAT(twice, HasSubstr("varve_build_duration_seconds_bucket{project=\"web\",target=\"\",le=\"10\"} 2\n"));
  EXPECT_THAT(twice, HasSubstr("varve_build_duration_seconds_count{project=\"web\",target=\"\"} 2\n"));
  EXPECT_THAT(twice, HasSubstr("varve_last_build_success{project=\"web\",target=\"\"} 1\n"));
  EXPECT_THAT(twice, HasSubstr("varve_storage_bytes{kind=\"regular\"} 5000000000\n"));
  EXPECT_THAT(Lines(twice, "varve_last_build_image_bytes"), Not(HasSubstr("amd64")));
}

TEST(Prometheus, OtherProjectsStay) {
  history::Build other = ExampleBuild();
  other.name = "api";
  auto before = MetricsOf(other, std::nullopt);
  std::string text = Render(Added(before, MetricsOf(ExampleBuild(), ExampleStorage())));
  EXPECT_THAT(text, HasSubstr("varve_last_build_success{project=\"api\",target=\"\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("varve_last_build_success{project=\"web\",target=\"\"} 1\n"));
  // A cache that both use is one.
  EXPECT_THAT(text, HasSubstr("varve_tier_hits_total{tier=\"registry:example.com/shop/web:cache\"} 4\n"));
  // A build that did not measure the disk leaves what was measured.
  EXPECT_THAT(Render(Added(MetricsOf(other, ExampleStorage()), MetricsOf(other, std::nullopt))),
              HasSubstr("varve_storage_bytes"));
}

TEST(Prometheus, OnlyGaugesArePushed) {
  std::string text = Render(GaugesOf(MetricsOf(ExampleBuild(), std::nullopt)));
  EXPECT_THAT(text, Not(HasSubstr("_total")));
  EXPECT_THAT(text, HasSubstr("varve_last_build_hit_ratio"));
}

TEST(Prometheus, WhatIsNotTheFormatIsAnError) {
  for (const char* text : {"hello", "# TYPE a counter\na{b=\"c\"", "# TYPE a counter\na{b=c} 1\n",
                           "# TYPE a counter\na x\n", "# TYPE a counter\nb 1\n", "a 1\n", "\xff\n"}) {
    EXPECT_EQ(ParseMetrics(text).error().code, Code::kCorrupt) << text;
  }
  EXPECT_TRUE(ParseMetrics("").value().empty());
}

}  // namespace
}  // namespace varve::report
