// Every cause of a step that runs, as the user reads it and as a script does. Each test builds, changes
// one thing, builds again, and compares what is said with tests/golden/engine/why/<name>.txt.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "engine/fake_world.h"
#include "engine/miss.h"

namespace varve::engine {
namespace {

class WhyTest : public ::testing::Test {
 protected:
  WhyTest() {
    world.images["docker.io/library/node:20@sha256:1111111111111111"] = "node v1";
    world.sources["context"] = {
        {"package.json", "{}"}, {"src/a.js", "a"}, {"src/b.js", "b"}, {"bin/run", "#!"}, {"README.md", "r"}};
  }

  // FROM node:20, COPY what, RUN npm ci, as a Dockerfile gives them.
  struct Steps {
    graph::StepIndex base, context, copy, run;
  };
  Steps Define(const std::string& copied = "src") {
    Steps s;
    s.base = AddImage(graph, "docker.io/library/node:20@sha256:1111111111111111");
    s.context = AddContext(graph);
    s.copy = AddCopy(graph, copied, s.context, static_cast<int>(s.base));
    s.run = AddRun(graph, "npm ci", s.copy);
    Name(s.copy, "[2/3] COPY " + copied + " /");
    Name(s.run, "[3/3] RUN npm ci");
    return s;
  }
  void Name(graph::StepIndex i, const std::string& name) {
    graph.steps[i].name = name;
    graph.steps[i].text = name.substr(name.find("] ") + 2);
    graph.steps[i].location = {"Dockerfile", i + 1, i + 1};
  }
  graph::Exec& ExecOf(graph::StepIndex i) { return std::get<graph::Exec>(graph.steps[i].op); }

  Outcome Build(graph::StepIndex wanted) {
    Outcome outcome = world.Build(graph, {{wanted}});
    EXPECT_FALSE(outcome.error) << outcome.error->message;
    last = outcome.steps;
    return outcome;
  }

  // `steps`: those whose reasons are told.
  void Expect(const std::string& name, std::initializer_list<graph::StepIndex> steps) {
    std::string text;
    for (graph::StepIndex i : steps) {
      const StepOutcome& step = last[i];
      ASSERT_FALSE(step.reasons.empty()) << graph.steps[i].name << " did not run";
      text += fmt::format("{}\nwhy: {}\n", graph.steps[i].name, Summarise(step.reasons));
      if (step.cause) text += fmt::format("cause: {}\n", graph.steps[*step.cause].name);
      text += Describe(step.reasons, "  ");
      text += ToJson(step.reasons).Dump({.indent = 1}) + "\n";
      // History holds no less than the build knew.
      EXPECT_EQ(ToJson(ReasonsFromJson(ToJson(step.reasons))), ToJson(step.reasons));
    }
    std::string path = fmt::format("{}/engine/why/{}.txt", VARVE_GOLDEN_DIR, name);
    if (std::getenv("VARVE_ACCEPT") != nullptr) {
      std::filesystem::create_directories(std::filesystem::path(path).parent_path());
      ASSERT_TRUE(WriteFileAtomically(path, text));
    }
    EXPECT_EQ(ReadFile(path).value_or("no golden file"), text);
  }

  FakeWorld world;
  graph::Graph graph;
  std::vector<StepOutcome> last;
};

TEST_F(WhyTest, NeverBuilt) {
  Steps s = Define();
  Build(s.run);
  Expect("never_built", {s.copy, s.run});
}

TEST_F(WhyTest, CommandChanged) {
  Steps s = Define();
  Build(s.run);
  ExecOf(s.run).args.back() = "npm ci --omit=dev";
  Build(s.run);
  Expect("command", {s.run});
}

TEST_F(WhyTest, WordsOfALongCommandChanged) {
  Steps s = Define();
  ExecOf(s.run).args.back() =
      "apt-get update && apt-get install -y --no-install-recommends curl git make && rm -rf /var/lib/apt";
  Build(s.run);
  ExecOf(s.run).args.back() =
      "apt-get update && apt-get install -y --no-install-recommends wget git && rm -rf /var/lib/apt";
  Build(s.run);
  Expect("command_words", {s.run});
}

TEST_F(WhyTest, ASecretInACommandIsNotShown) {
  Steps s = Define();
  ExecOf(s.run).args.back() = "TOKEN=aaaa npm ci";
  Build(s.run);
  ExecOf(s.run).args.back() = "TOKEN=bbbb npm ci";
  Build(s.run);
  Expect("command_secret", {s.run});
}

TEST_F(WhyTest, CopyInstructionChanged) {
  Steps s = Define();
  Build(s.run);
  std::get<graph::Copy>(std::get<graph::FileOp>(graph.steps[s.copy].op).actions[0]).dest = "/app/";
  Name(s.copy, "[2/3] COPY src /app/");
  Build(s.run);
  Expect("copy_instruction", {s.copy, s.run});
}

TEST_F(WhyTest, DestinationOfACopyMovedWithTheWorkingDirectory) {
  Steps s = Define();
  Build(s.run);
  std::get<graph::Copy>(std::get<graph::FileOp>(graph.steps[s.copy].op).actions[0]).dest = "/app/";
  Build(s.run);
  Expect("copy_destination", {s.copy});
}

TEST_F(WhyTest, ArgThatTheCommandNames) {
  Steps s = Define();
  graph.steps[s.run].arg_names = {"VERSION"};
  ExecOf(s.run).args.back() = "make V=$VERSION";
  Name(s.run, "[3/3] RUN make V=$VERSION");
  ExecOf(s.run).env = {"VERSION=1.0"};
  Build(s.run);
  ExecOf(s.run).env = {"VERSION=1.1"};
  Build(s.run);
  Expect("arg_used", {s.run});
}

TEST_F(WhyTest, ArgThatTheCommandDoesNotName) {
  Steps s = Define();
  auto tag = AddRun(graph, "echo ${VERSION} > /version", s.run);
  Name(tag, "[4/4] RUN echo ${VERSION} > /version");
  for (auto i : {s.run, tag}) graph.steps[i].arg_names = {"VERSION"};
  for (auto i : {s.run, tag}) ExecOf(i).env = {"PATH=/bin", "VERSION=1.0"};
  Build(tag);
  for (auto i : {s.run, tag}) ExecOf(i).env = {"PATH=/bin", "VERSION=1.1"};
  Build(tag);
  Expect("arg_not_used", {s.run, tag});
}

TEST_F(WhyTest, EnvThatIsNewAndOneThatIsGone) {
  Steps s = Define();
  ExecOf(s.run).env = {"OLD=1"};
  Build(s.run);
  ExecOf(s.run).env = {"NEW=2"};
  Build(s.run);
  Expect("env_new_and_gone", {s.run});
}

TEST_F(WhyTest, AVariableThatLooksSecretIsNamedWithoutItsValue) {
  Steps s = Define();
  ExecOf(s.run).env = {"NPM_TOKEN=aaaa"};
  Build(s.run);
  ExecOf(s.run).env = {"NPM_TOKEN=bbbb"};
  Build(s.run);
  Expect("env_secret", {s.run});
}

TEST_F(WhyTest, FilesChanged) {
  Steps s = Define();
  Build(s.run);
  auto& files = world.sources["context"];
  files["src/a.js"] = "changed";
  files["src/new.js"] = "n";
  files.erase("src/b.js");
  files["README.md"] = "not read by the step";
  Build(s.run);
  Expect("files", {s.copy, s.run});
}

TEST_F(WhyTest, ManyFilesChanged) {
  Steps s = Define();
  Build(s.run);
  for (int i = 0; i < 25; ++i) world.sources["context"][fmt::format("src/gen/{:02}.js", i)] = "x";
  Build(s.run);
  for (int i = 0; i < 25; ++i) world.sources["context"][fmt::format("src/gen/{:02}.js", i)] = "y";
  Build(s.run);
  Expect("files_many", {s.copy});
}

TEST_F(WhyTest, AnotherProjectIsNoEarlierBuildButACloneIs) {
  Steps s = Define(".");
  for (int i = 0; i < 20; ++i) world.sources["context"][fmt::format("{}.js", i)] = "x";
  Build(s.run);
  world.project = "clone";
  world.sources["context"]["0.js"] = "edited";
  EXPECT_EQ(Summarise(Build(s.run).steps[s.copy].reasons), "0.js: content changed");
  world.project = "other";
  for (int i = 0; i < 20; ++i) world.sources["context"][fmt::format("{}.js", i)] = "y";
  EXPECT_EQ(Summarise(Build(s.run).steps[s.copy].reasons), "never built here");
}

TEST_F(WhyTest, OnlyAModeDiffers) {
  Steps s = Define("bin");
  world.modes["bin/run"] = 0755;
  Build(s.run);
  world.modes["bin/run"] = 0644;
  Build(s.run);
  Expect("file_mode", {s.copy});
}

TEST_F(WhyTest, OnlyAnOwnerDiffers) {
  Steps s = Define("bin");
  Build(s.run);
  world.owners["bin/run"] = 1000;
  Build(s.run);
  Expect("file_owner", {s.copy});
}

TEST_F(WhyTest, OnlyFilesThatCouldBeIgnoredChanged) {
  Steps s = Define(".");
  world.sources["context"][".git/index"] = "1";
  Build(s.run);
  world.sources["context"][".git/index"] = "2";
  Build(s.run);
  Expect("file_ignorable", {s.copy});
}

TEST_F(WhyTest, AStepThatDoesNotReadWhatWasCopiedCouldComeFirst) {
  Steps s = Define();
  world.blind = {"npm ci"};
  Build(s.run);
  world.sources["context"]["src/a.js"] = "changed";
  Build(s.run);
  Expect("order", {s.copy, s.run});
}

TEST_F(WhyTest, BaseImageMoved) {
  auto base = AddImage(graph, "docker.io/library/node:20@sha256:1111111111111111");
  auto run = AddRun(graph, "npm ci", base);
  Name(run, "[2/2] RUN npm ci");
  Build(run);
  std::string moved = "docker.io/library/node:20@sha256:2222222222222222";
  world.images[moved] = "node v2";
  std::get<graph::ImageSource>(graph.steps[base].op).reference = moved;
  Build(run);
  Expect("base_moved", {run});
}

TEST_F(WhyTest, OtherBaseImage) {
  auto base = AddImage(graph, "docker.io/library/node:20@sha256:1111111111111111");
  auto run = AddRun(graph, "npm ci", base);
  Name(run, "[2/2] RUN npm ci");
  Build(run);
  std::string other = "docker.io/library/node:22@sha256:3333333333333333";
  world.images[other] = "node 22";
  std::get<graph::ImageSource>(graph.steps[base].op).reference = other;
  Build(run);
  Expect("base_other", {run});
}

TEST_F(WhyTest, AStageChangedAndSoDidWhatIsCopiedFromIt) {
  Steps s = Define();
  graph.steps[s.run].stage = graph.steps[s.copy].stage = "build";
  auto last_copy = AddCopy(graph, "out", s.run, -1, "final");
  Name(last_copy, "[final 1/1] COPY --from=build /out /");
  Build(last_copy);
  world.sources["context"]["src/a.js"] = "changed";
  Build(last_copy);
  Expect("stage_changed", {s.copy, s.run, last_copy});
}

TEST_F(WhyTest, AStageRanAgainAndGaveSomethingElse) {
  Steps s = Define();
  graph.steps[s.run].stage = "build";
  auto last_copy = AddCopy(graph, "out", s.run, -1, "final");
  Name(last_copy, "[final 1/1] COPY --from=build /out /");
  world.unstable = {"npm ci"};
  Build(last_copy);
  graph.steps[s.run].no_cache = true;
  graph.steps[s.run].no_cache_rule = "--no-cache-filter=build";
  Build(last_copy);
  Expect("stage_unstable", {s.run, last_copy});
}

TEST_F(WhyTest, AParentHitButIsAnotherOneThanTheLastTime) {
  Steps s = Define();
  Build(s.copy);  // a record of the old files, of the copy alone
  world.sources["context"]["src/a.js"] = "changed";
  Build(s.run);
  world.sources["context"]["src/a.js"] = "a";
  Build(s.run);
  Expect("parent_hit", {s.run});
}

TEST_F(WhyTest, AnInstructionWasPutBeforeIt) {
  Steps s = Define();
  Build(s.run);
  graph = {};
  s.base = AddImage(graph, "docker.io/library/node:20@sha256:1111111111111111");
  s.context = AddContext(graph);
  auto added = AddRun(graph, "apt-get update", s.base);
  s.copy = AddCopy(graph, "src", s.context, static_cast<int>(added));
  s.run = AddRun(graph, "npm ci", s.copy);
  Name(added, "[2/4] RUN apt-get update");
  Name(s.copy, "[3/4] COPY src /");
  Name(s.run, "[4/4] RUN npm ci");
  Build(s.run);
  Expect("inserted", {added, s.copy, s.run});
}

TEST_F(WhyTest, OtherPlatform) {
  Steps s = Define();
  Build(s.run);
  for (auto i : {s.copy, s.run}) {
    graph.steps[i].platform = oci::Platform{.os = "linux", .architecture = "arm64"};
  }
  Build(s.run);
  Expect("platform", {s.copy, s.run});
}

TEST_F(WhyTest, MountShapeChanged) {
  Steps s = Define();
  ExecOf(s.run).mounts.push_back({.type = graph::MountType::kTmpfs, .target = "/tmp"});
  Build(s.run);
  ExecOf(s.run).mounts.back().tmpfs_size = 1 << 20;
  ExecOf(s.run).mounts.push_back({.type = graph::MountType::kCache, .target = "/root/.npm"});
  Build(s.run);
  Expect("mount", {s.run});
}

TEST_F(WhyTest, SecretIdChanged) {
  Steps s = Define();
  ExecOf(s.run).mounts.push_back({.type = graph::MountType::kSecret, .target = "/run/secrets/npm", .secret_id = "npm"});
  Build(s.run);
  ExecOf(s.run).mounts.back() = {
      .type = graph::MountType::kSecret, .target = "/run/secrets/npmrc", .secret_id = "npmrc"};
  Build(s.run);
  Expect("secret_id", {s.run});
}

TEST_F(WhyTest, UserAndWorkingDirectoryChanged) {
  Steps s = Define();
  Build(s.run);
  ExecOf(s.run).user = "node";
  ExecOf(s.run).cwd = "/app";
  Build(s.run);
  Expect("settings", {s.run});
}

TEST_F(WhyTest, NoCache) {
  Steps s = Define();
  Build(s.run);
  for (auto i : {s.copy, s.run}) {
    graph.steps[i].no_cache = true;
    graph.steps[i].no_cache_rule = "--no-cache";
  }
  Build(s.run);
  Expect("no_cache", {s.copy, s.run});
}

TEST_F(WhyTest, NoCacheFilter) {
  Steps s = Define();
  Build(s.run);
  graph.steps[s.copy].no_cache = true;
  graph.steps[s.copy].no_cache_rule = "--no-cache-filter=deps";
  Build(s.run);
  Expect("no_cache_filter", {s.copy, s.run});
}

TEST_F(WhyTest, RecordIsTooOld) {
  Steps s = Define();
  Build(s.run);
  world.clock.Advance(std::chrono::hours(24 * 8));
  world.max_age.resize(graph.steps.size());
  world.max_age[s.copy] = AgeLimit{std::chrono::hours(24 * 7), "--cache-max-age=7d"};
  Build(s.run);
  Expect("max_age", {s.copy, s.run});
}

TEST_F(WhyTest, RecordWasEvicted) {
  Steps s = Define();
  StepKey key = Build(s.run).steps[s.run].key;
  world.Evict(key, "keep-storage=10GB");
  world.clock.Advance(std::chrono::hours(5));
  Build(s.run);
  Expect("evicted", {s.run});
}

TEST_F(WhyTest, WhatItDiffersFromWasEvicted) {
  Steps s = Define();
  StepKey key = Build(s.run).steps[s.run].key;
  world.Evict(key, "until=24h");
  world.clock.Advance(std::chrono::hours(24 * 3));
  ExecOf(s.run).args.back() = "npm ci --omit=dev";
  Build(s.run);
  Expect("evicted_earlier", {s.run});
}

TEST_F(WhyTest, LayersAreLost) {
  Steps s = Define();
  DiffId top = Build(s.run).wanted[0].layers.back();
  world.layers.erase(top);
  Build(s.run);
  Expect("data_lost", {s.run});
}

TEST_F(WhyTest, LayersWereEvicted) {
  Steps s = Define();
  Outcome built = Build(s.run);
  world.EvictLayer(built.steps[s.run].key, built.wanted[0].layers.back(), "keep-storage=10GB");
  world.clock.Advance(std::chrono::hours(5));
  Build(s.run);
  Expect("layers_evicted", {s.run});
}

TEST_F(WhyTest, LayersAreDamaged) {
  Steps s = Define();
  DiffId top = Build(s.run).wanted[0].layers.back();
  world.unobtainable.emplace(top, Corrupt("layer sha256:44 has the digest sha256:55"));
  world.forget_unobtainable_on_run = true;
  Build(s.run);
  Expect("data_damaged", {s.run});
}

TEST_F(WhyTest, TierIsNotTrusted) {
  Steps s = Define();
  world.trouble = {
      {cache::TierTrouble::Kind::kUntrusted, "registry.example.com/cache:pr-7", "pull requests may not be read"}};
  Build(s.run);
  Expect("tier_untrusted", {s.run});
}

TEST_F(WhyTest, TierFailed) {
  Steps s = Define();
  world.trouble = {{cache::TierTrouble::Kind::kFailed, "registry.example.com/cache:main", "connection refused"}};
  Build(s.run);
  Expect("tier_failed", {s.run});
}

TEST_F(WhyTest, TierFailedAndTheStepChanged) {
  Steps s = Define();
  Build(s.run);
  world.trouble = {{cache::TierTrouble::Kind::kFailed, "registry.example.com/cache:main", "connection refused"}};
  ExecOf(s.run).args.back() = "npm install";
  Build(s.run);
  Expect("tier_failed_and_changed", {s.run});
}

TEST_F(WhyTest, LocalStoreFailed) {
  Steps s = Define();
  world.records_fail = true;
  Build(s.run);
  Expect("store_failed", {s.run});
}

TEST_F(WhyTest, KeySchemaChanged) {
  Steps s = Define();
  StepKey key = Build(s.run).steps[s.run].key;
  cache::StepRecord old = world.records.at(key);
  world.records.clear();
  old.preimage.replace(old.preimage.find("\"schema\":1"), 10, "\"schema\":0");
  old.key = StepKey(Digest::Of(old.preimage));
  world.records.emplace(old.key, old);
  world.Remember(old.key);
  Build(s.run);
  Expect("schema", {s.run});
}

TEST_F(WhyTest, SaltChanged) {
  Steps s = Define();
  Build(s.run);
  world.salt = "v2";
  Build(s.run);
  Expect("salt", {s.copy, s.run});
}

}  // namespace
}  // namespace varve::engine
