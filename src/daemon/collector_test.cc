// The daemon's collection: on a timer, once a build has added something.
#include "daemon/collector.h"

#include "daemon/server_fixture.h"

namespace varve::daemon {
namespace {

struct CollectorTest : ServerTest {
  Collector::Options options{.interval = std::chrono::milliseconds(5), .measure = true};

  void Build() {
    Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
    Write("a.txt", "text");
    auto session = OpenSession("s");
    const Answer answer = Solve(Request("s"));
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  }
  static uint64_t Evicted(const Collector& collector) {
    uint64_t things = 0;
    const auto storage = collector.storage();
    for (const auto& [rule, sums] : storage ? storage->evicted : job::Collected()) things += sums.first;
    return things;
  }
};

TEST_F(CollectorTest, RemovesWhatThePolicyGivesUp) {
  options.policies = R"({"gcpolicy":[{"maxUsedSpace":1}]})";
  Collector collector(directory.path() + "/root", options);
  Build();
  for (int i = 0; i < 2000 && Evicted(collector) == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GT(Evicted(collector), 0u);
  const auto storage = collector.storage();
  ASSERT_TRUE(storage);
  EXPECT_EQ(storage->limit, 1u);
}

TEST_F(CollectorTest, EndsWhileItWaits) {
  options.interval = std::chrono::hours(1);
  Collector collector(directory.path() + "/root", options);
}

}  // namespace
}  // namespace varve::daemon
