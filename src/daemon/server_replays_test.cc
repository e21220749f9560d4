// Steps that are replayed in builds of clients, and how a part of the replays is checked (build.json's trace_shadow).
#include <gmock/gmock.h>

#include "base/metric.h"
#include "daemon/server_fixture.h"
#include "sys/namespace.h"

namespace varve::daemon {
namespace {

using ::testing::HasSubstr;

constexpr const char* kBusybox = "/bin/busybox";

// As a Dockerfile, or as the definition that a front end in the client makes of it.
struct ServerReplays : ServerTest, testing::WithParamInterface<bool> {
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (access(kBusybox, X_OK) != 0) GTEST_SKIP() << "needs the package busybox-static";
    if (!sys::CanMount() || access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "FUSE cannot be mounted here";
    ServerTest::SetUp();
    std::filesystem::copy_file(kBusybox, directory.path() + "/ctx/sh");
    Write("Dockerfile",
          "FROM scratch\nCOPY . /\n"
          R"(RUN ["/sh", "-c", "read word < /deps; echo $word > /same"])"
          "\n"
          R"(RUN ["/sh", "-c", "read id < /proc/sys/kernel/random/uuid; echo $id > /other"])"
          "\n");
    Write("deps", "one\n");
    session = OpenSession("s");
  }

  pb::Definition Definition() {
    auto request = RequestOfAClient("s");
    auto solving = Begin(request);
    FakeFrontEnd front_end(channel, request.ref());
    gateway::SolveRequest solve;
    solve.set_frontend("dockerfile.v0");
    solve.set_allow_result_return(true);
    gateway::SolveResponse solved;
    EXPECT_TRUE(front_end.Call(&FakeFrontEnd::Stub::Solve, solve, solved).ok());
    EXPECT_TRUE(front_end.Return().ok());
    EXPECT_TRUE(solving.get().status.ok());
    return solved.result().ref().def();
  }
  Answer Build() {
    auto request = Request("s");
    request.add_exporters()->set_type("tar");
    if (GetParam()) {
      request.clear_frontend();
      *request.mutable_definition() = Definition();
    }
    Answer answer = Solve(request);
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    return answer;
  }
  static bool IsCached(const Answer& answer, const std::string& step) {
    const control::Vertex* vertex = Find(answer.events, step);
    EXPECT_NE(vertex, nullptr) << step;
    return vertex != nullptr && vertex->cached();
  }

  std::unique_ptr<session::testing::FakeClient> session;
};

TEST_P(ServerReplays, APartOfThemIsCheckedWhereTheConfigurationSaysSo) {
  Build();
  Write("README", "changed");
  Answer replayed = Build();
  EXPECT_TRUE(IsCached(replayed, "> /same"));
  EXPECT_TRUE(IsCached(replayed, "> /other"));
  EXPECT_EQ(replayed.events.warnings_size(), 0);

  std::ofstream(directory.path() + "/root/build.json") << R"({"trace_shadow": "100%"})";
  Write("README", "changed again");
  const int64_t runs = Counter("engine.shadow_runs").value(), differ = Counter("engine.shadow_differs").value();
  Answer checked = Build();
  EXPECT_TRUE(IsCached(checked, "> /other"));
  EXPECT_EQ(Counter("engine.shadow_runs").value(), runs + 2);
  EXPECT_EQ(Counter("engine.shadow_differs").value(), differ + 1);
  ASSERT_EQ(checked.events.warnings_size(), 1);
  EXPECT_THAT(checked.events.warnings(0).short_(), HasSubstr("gave something else: /other: content changed"));

  Write("README", "and again");
  Answer after = Build();
  EXPECT_TRUE(IsCached(after, "> /same"));
  EXPECT_FALSE(IsCached(after, "> /other"));
}

INSTANTIATE_TEST_SUITE_P(As, ServerReplays, testing::Bool(),
                         [](const auto& given) { return given.param ? "Definition" : "Dockerfile"; });

}  // namespace
}  // namespace varve::daemon
