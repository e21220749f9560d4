// Processes as LLB clients ask for them, and no Dockerfile does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "exec/exec_step.h"
#include "exec/step_test.h"

namespace varve::exec {
namespace {

using ::testing::HasSubstr;

constexpr const char* kBusybox = "/bin/busybox";

class RunSteps : public StepTest {
 protected:
  void SetUp() override {
    StepTest::SetUp();
    if (IsSkipped()) return;
    if (access(kBusybox, X_OK) != 0) GTEST_SKIP() << "needs the package busybox-static";
    std::vector<FileAction> actions = {MakeFile{.path = "/bin/busybox", .data = *ReadFile(kBusybox), .mode = 0755}};
    for (const char* applet : {"sh", "cat", "touch", "env", "mkdir"}) {
      actions.push_back(MakeSymlink{.target = "busybox", .path = std::string("/bin/") + applet});
    }
    rootfs_ = Make(std::move(actions));
    exec_.mounts = {graph::Mount{.target = "/", .input = 0, .output = 0}};
  }

  Result<engine::RunResult> Run(const std::string& script, const std::vector<cache::Rootfs>& more = {}) {
    exec_.args = {"/bin/sh", "-c", script};
    graph::Graph graph;
    graph.Add(graph::Step{.op = exec_, .platform = oci::HostPlatform(), .name = "run"});
    engine::RunRequest request{.graph = graph, .step = 0, .key = {}, .inputs = {}, .similar = {}};
    request.more_to_run = more_to_run_;
    request.inputs.push_back({.step = 0, .rootfs = rootfs_});
    for (const cache::Rootfs& input : more) request.inputs.push_back({.step = 0, .rootfs = input});
    return RunExecStep(*job_, request, sink_, {});
  }

  cache::Rootfs rootfs_;
  graph::Exec exec_;
  bool more_to_run_ = false;
  LogSink sink_;
};

TEST_F(RunSteps, OtherExitCodesMayBeNoFailure) {
  EXPECT_THAT(Run("exit 3").error().message, HasSubstr("exit code: 3"));
  exec_.valid_exit_codes = {0, 3};
  EXPECT_TRUE(Run("exit 3"));
  EXPECT_TRUE(Run("exit 0"));
  EXPECT_THAT(Run("exit 4").error().message, HasSubstr("exit code: 4"));
  exec_.valid_exit_codes = {3};
  EXPECT_THAT(Run("exit 0").error().message, HasSubstr("exit code: 0"));
}

// What the runtimes of steps have below the directory of their state.
size_t Bundles(const std::string& directory) {
  size_t bundles = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    bundles += entry.path().filename().string().starts_with("varve-");
  }
  return bundles;
}

TEST_F(RunSteps, TheNextRuntimeIsStartedWhileAStepRuns) {
  more_to_run_ = true;
  ASSERT_TRUE(Run("touch /one"));
  const std::string state = state_.Directory().value();
  if (!snapshot::OverlayUsable(*job_scratch_.Path()) || !sandbox::FindRuntime()->path.ends_with("crun"))
    GTEST_SKIP() << "needs crun";
  EXPECT_EQ(Bundles(state), 1u);
  more_to_run_ = false;
  auto result = Run("touch /two");
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_TRUE(At(result->outputs[0], "two"));
  EXPECT_EQ(Bundles(state), 0u);
}

TEST_F(RunSteps, ARuntimeThatWaitsIsNotUsedWhereMoreIsMounted) {
  more_to_run_ = true;
  ASSERT_TRUE(Run("true || touch /one"));
  auto input = Make({MakeFile{.path = "/sub/in", .data = "x"}});
  exec_.mounts.push_back(graph::Mount{.target = "/on", .input = 1, .source = "sub", .readonly = true});
  auto result = Run("cat /on/in > /two", {input});
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(At(result->outputs[0], "two")->size, 1u);
}

TEST_F(RunSteps, APathIsThereAlsoWhereNobodySetsOne) {
  ASSERT_TRUE(Run("env"));
  EXPECT_THAT(sink_.log, HasSubstr("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  sink_.log.clear();
  exec_.env = {"PATH=/bin"};
  ASSERT_TRUE(Run("env"));
  EXPECT_THAT(sink_.log, HasSubstr("PATH=/bin\n"));
}

TEST_F(RunSteps, EachMountMayBeAResult) {
  auto input = Make({MakeFile{.path = "/sub/in", .data = "x"}});
  exec_.mounts[0].output = 1;
  exec_.mounts.push_back(graph::Mount{.target = "/on", .input = 1, .source = "sub", .output = 0});
  exec_.mounts.push_back(graph::Mount{.target = "/new", .output = 2});
  auto result = Run("cat /on/in > /on/out && touch /new/made /root-file", {input});
  ASSERT_TRUE(result) << result.error().ToString();
  ASSERT_EQ(result->outputs.size(), 3u);
  EXPECT_TRUE(At(result->outputs[0], "sub/in"));
  EXPECT_TRUE(At(result->outputs[0], "sub/out"));
  EXPECT_TRUE(At(result->outputs[1], "root-file"));
  EXPECT_FALSE(At(result->outputs[1], "on"));  // what was made to mount on is taken away
  EXPECT_TRUE(At(result->outputs[2], "made"));
  EXPECT_FALSE(At(result->outputs[2], "root-file"));
}

TEST_F(RunSteps, WhatIsWrittenToAMountThatIsNoResultIsGone) {
  auto input = Make({MakeFile{.path = "/in", .data = "x"}});
  exec_.mounts.push_back(graph::Mount{.target = "/on", .input = 1});
  ASSERT_TRUE(Run("touch /on/out && cat /on/in", {input}));
  EXPECT_THAT(Run("cat /on/out", {input}).error().message, HasSubstr("exit code: 1"));
}

TEST_F(RunSteps, TheRootMayBeReadOnlyAndAResultElsewhere) {
  exec_.mounts[0] = graph::Mount{.target = "/", .input = 0, .readonly = true};
  exec_.mounts.push_back(graph::Mount{.target = "/out", .output = 0});
  auto result = Run("! touch /x && touch /out/y");
  ASSERT_TRUE(result) << result.error().ToString();
  ASSERT_EQ(result->outputs.size(), 1u);
  EXPECT_TRUE(At(result->outputs[0], "y"));
}

}  // namespace
}  // namespace varve::exec
