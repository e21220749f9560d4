// For tests of single steps: a store of its own, and steps that are done without an engine.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache/cache_mounts.h"
#include "cache/lease.h"
#include "cache/local_store.h"
#include "cache/root.h"
#include "exec/file_step.h"
#include "sys/tempdir.h"

namespace varve::exec {

using graph::Copy;
using graph::FileAction;
using graph::MakeDirectory;
using graph::MakeFile;
using graph::MakeSymlink;

struct NoDirectories final : SourceDirectories {
  std::string DirectoryOf(graph::StepIndex) const override { return ""; }
};

struct LogSink final : engine::StepSink {
  void Log(int, std::string_view text) override { log += text; }
  std::string log;
  void Progress(const std::string&, uint64_t, uint64_t, bool) override {}
};

// Before a file or a link the directory that it is in, which neither makes.
inline std::vector<FileAction> WithParents(const std::vector<FileAction>& actions) {
  std::vector<FileAction> out;
  for (const FileAction& action : actions) {
    const auto* file = std::get_if<MakeFile>(&action);
    const auto* link = std::get_if<MakeSymlink>(&action);
    const RelPath parent = RelPath(file != nullptr ? file->path : link != nullptr ? link->path : "").Parent();
    if (!parent.IsRoot()) out.push_back(MakeDirectory{.path = parent.Absolute()});
    out.push_back(action);
  }
  return out;
}

class StepTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "owners need root";
    directory_ = *sys::TempDir::Create(place_, "files-");
    root_ = directory_.path() + "/root";
    ASSERT_TRUE(cache::PrepareRoot(root_));
    store_ = std::move(cache::OpenLocalStore(root_, SystemClock()).value().store);
    layers_ = *snapshot::OpenLayerStore(root_);
    mounts_ = std::make_unique<cache::CacheMounts>(root_, SystemClock());
    lease_ = std::move(cache::JobLease::Begin(root_, SystemClock()).value());
    job_ = std::make_unique<Job>(Job{.layers = *layers_,
                                     .trees = *store_,
                                     .cache_mounts = *mounts_,
                                     .directories = directories_,
                                     .secrets = secrets_,
                                     .ssh = {},
                                     .scratch = job_scratch_,
                                     .step_state = state_,
                                     .mount_namespace = {},
                                     .clock = clock_,
                                     .lease = *lease_,
                                     .root = root_});
  }

  // The actions on `base`, with more inputs after it: inputs[0] is the base.
  Result<cache::Rootfs> Do(std::vector<FileAction> actions, const cache::Rootfs& base,
                           const std::vector<cache::Rootfs>& more = {}) {
    graph::Graph graph;
    graph::Step step{.op = graph::FileOp{.base = 0, .actions = std::move(actions)}, .platform = platform_};
    graph.Add(std::move(step));
    engine::RunRequest request{.graph = graph, .step = 0, .key = {}, .inputs = {}, .similar = {}};
    request.inputs.push_back({.step = 0, .rootfs = base});
    for (const cache::Rootfs& input : more) request.inputs.push_back({.step = 0, .rootfs = input});
    LogSink sink;
    TRY_ASSIGN(engine::RunResult result, RunFileStep(*job_, request, sink, {}));
    return std::move(result.outputs[0]);
  }
  cache::Rootfs Make(std::vector<FileAction> actions) { return Make(std::move(actions), scratch_); }
  cache::Rootfs Make(std::vector<FileAction> actions, const cache::Rootfs& base,
                     const std::vector<cache::Rootfs>& more = {}) {
    auto made = Do(WithParents(actions), base, more);
    EXPECT_TRUE(made) << made.error().ToString();
    return made ? *made : scratch_;
  }

  std::optional<tree::Node> At(const cache::Rootfs& rootfs, const char* path) {
    return *tree::Lookup(*store_, rootfs.tree_root, RelPath(path));
  }
  int64_t TimeOf(const cache::Rootfs& rootfs, const std::string& path) {
    struct stat st;
    std::string file = layers_->Directory(rootfs.layers.back()).value() + "/" + path;
    EXPECT_EQ(lstat(file.c_str(), &st), 0) << file;
    return st.st_mtim.tv_sec;
  }
  std::string place_ = testing::TempDir();
  FakeClock clock_;
  oci::Platform platform_;  // of the steps
  sys::TempDir directory_;
  std::string root_;
  std::unique_ptr<cache::LocalStore> store_;
  std::unique_ptr<snapshot::LayerStore> layers_;
  std::unique_ptr<cache::CacheMounts> mounts_;
  std::unique_ptr<cache::JobLease> lease_;
  std::unique_ptr<Job> job_;
  NoDirectories directories_;
  Secrets secrets_{{}};
  sys::LazyTempDir job_scratch_{place_, "job-"};
  StepState state_{job_scratch_};
  const cache::Rootfs scratch_{{}, tree::EmptyTree()};
};

}  // namespace varve::exec
