#include "history/trace.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "base/fd.h"

namespace varve::history {
namespace {

constexpr int64_t kStart = 1'700'000'000'000'000'000;
constexpr int64_t kMilli = 1'000'000;

Step At(uint32_t index, const std::string& name, const std::string& stage, Fate fate, int64_t from, int64_t millis) {
  Step step{.index = index, .name = name, .stage = stage, .fate = fate};
  step.started = {kStart + from * kMilli};
  step.wall = Nanos(millis * kMilli);
  return step;
}

Build Example() {
  Build build;
  build.id = "abcdefghijkl";
  build.varve_version = "1";
  build.status = BuildStatus::kCompleted;
  build.started = {kStart};
  build.ended = {kStart + 100 * kMilli};
  Step load = At(0, "[internal] load metadata for docker.io/library/busybox:latest", "", Fate::kRan, 0, 5);
  load.internal = true;
  Step from = At(1, "[build 1/3] FROM busybox", "build", Fate::kCached, 5, 20);
  from.source = true;
  from.parts = {{"sha256:aaaa", {kStart + 5 * kMilli}, Nanos(10 * kMilli), 1000}};
  Step one = At(2, "[build 2/3] RUN one", "build", Fate::kCached, 25, 0);
  one.saved = Nanos(1200 * kMilli);
  one.key = "sha256:00";
  Step two = At(3, "[build 3/3] RUN two", "build", Fate::kRan, 25, 50);
  two.why = "src/a.c: content changed";
  Step test = At(4, "[test 1/1] RUN three", "test", Fate::kFailed, 30, 30);
  test.error = "exit code: 1";
  Step skipped = At(5, "[docs 1/1] RUN never", "docs", Fate::kSkipped, 0, 0);
  skipped.started = {};
  build.steps = {load, from, one, two, test, skipped};
  return build;
}

TEST(Trace, TextIsPinned) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/history/trace.json";
  std::string text = Trace(Example()).Dump({.indent = 1}) + "\n";
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  EXPECT_EQ(ReadFile(path).value_or("no golden file"), text);
}

// What Perfetto's importer asks of complete events: the members by type, and events of one thread
// nested or apart, never crossing.
TEST(Trace, IsWellFormed) {
  Json trace = Json::Parse(Trace(Example()).Dump()).value();
  std::map<std::pair<int64_t, int64_t>, std::vector<std::pair<int64_t, int64_t>>> lanes;
  std::set<std::string> names;
  for (const Json& event : trace.GetArray("traceEvents")) {
    ASSERT_TRUE(event.Find("name") && event.Find("pid") && event.Find("tid"));
    if (event.GetString("ph") == "M") continue;  // names
    ASSERT_EQ(event.GetString("ph"), "X");
    ASSERT_TRUE(event.Find("ts")->is_int() && event.Find("dur")->is_int());
    EXPECT_GE(event.GetInt("ts"), 0);
    EXPECT_GT(event.GetInt("dur"), 0);
    names.insert(event.GetString("name"));
    auto& lane = lanes[{event.GetInt("pid"), event.GetInt("tid")}];
    int64_t begin = event.GetInt("ts"), end = begin + event.GetInt("dur");
    for (auto [b, e] : lane) EXPECT_TRUE(end <= b || e <= begin) << event.Dump();
    lane.emplace_back(begin, end);
  }
  EXPECT_TRUE(names.contains("CACHED [build 2/3] RUN one"));
  EXPECT_TRUE(names.contains("[test 1/1] RUN three"));
  EXPECT_FALSE(names.contains("[docs 1/1] RUN never"));
}

}  // namespace
}  // namespace varve::history
