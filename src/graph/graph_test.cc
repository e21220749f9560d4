#include "graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "graph/reads.h"

namespace varve::graph {
namespace {

using ::testing::HasSubstr;

Step Source(std::string name) { return Step{.op = LocalSource{.name = name}, .name = name}; }

Step RunStep(std::vector<Ref> inputs, std::vector<Mount> mounts) {
  return Step{.op = Exec{.args = {"/bin/sh", "-c", "make"}, .mounts = std::move(mounts)},
              .inputs = std::move(inputs),
              .name = "RUN make"};
}

Mount Root(int input) { return Mount{.target = "/", .input = input, .output = 0}; }

TEST(Reads, RootIsLineageAndReadOnlyMountsAreSelected) {
  Graph graph;
  StepIndex a = graph.Add(Source("a"));
  StepIndex b = graph.Add(Source("b"));
  Step run = RunStep({{a}, {b}}, {Root(0), Mount{.target = "/src", .input = 1, .source = "lib", .readonly = true}});
  auto uses = InputUses(run);
  ASSERT_EQ(uses.size(), 2u);
  EXPECT_TRUE(uses[0].lineage);
  EXPECT_FALSE(uses[1].lineage);
  ASSERT_EQ(uses[1].selectors.size(), 1u);
  EXPECT_EQ(uses[1].selectors[0].path, "lib");
}

TEST(Reads, AnInputThatIsLineageAnywhereIsLineage) {
  Graph graph;
  StepIndex a = graph.Add(Source("a"));
  Step run = RunStep({{a}}, {Root(0), Mount{.target = "/again", .input = 0, .source = "etc"}});
  EXPECT_TRUE(InputUses(run)[0].lineage);
}

TEST(Reads, RequiredPathsAndTheFilesOfNamesAreRead) {
  FileOp file{.base = 0};
  file.actions = {Copy{.input = 1, .from = {.path = "a"}, .dest = "/", .owner = {"node", "", 2}, .required = {"/a/b"}}};
  auto uses = InputUses(Step{.op = file, .inputs = {{0}, {1}, {2}}});
  ASSERT_EQ(uses[1].selectors.size(), 2u);
  EXPECT_EQ(uses[1].selectors[1].path, "a/b");
  ASSERT_EQ(uses[2].selectors.size(), 2u);
  EXPECT_EQ(uses[2].selectors[0].path, "etc/passwd");
  EXPECT_TRUE(uses[2].selectors[0].allow_empty);
}

TEST(Reads, ReachJoinsWhatAllStepsSelect) {
  Graph graph;
  StepIndex context = graph.Add(Source("context"));
  for (const char* path : {"a", "b"}) {
    FileOp file{.actions = {Copy{.input = 0, .from = {.path = path}, .dest = "/"}}};
    graph.Add(Step{.op = file, .inputs = {{context}}});
  }
  auto reach = Reach(graph, context);
  ASSERT_EQ(reach.size(), 2u);
  EXPECT_EQ(reach[0].path, "a");
  EXPECT_EQ(reach[1].path, "b");
}

TEST(CanonicalOp, LeavesOutWhatDecidesNoResult) {
  Mount cache{.type = MountType::kCache, .target = "/root/.npm", .cache_id = "one"};
  Step a = RunStep({}, {Root(-1), cache});
  cache.cache_id = "two";
  cache.sharing = CacheSharing::kLocked;
  Step b = RunStep({}, {Root(-1), cache});
  b.name = "other name";
  std::get<Exec>(b.op).proxy_env = {"HTTP_PROXY=http://proxy"};
  std::get<Exec>(b.op).resources["memory"] = "1g";
  EXPECT_EQ(CanonicalOp(a), CanonicalOp(b));
}

TEST(CanonicalOp, DiffersForEveryFieldThatMatters) {
  Step plain = RunStep({}, {Root(-1)});
  std::vector<std::function<void(Exec&)>> changes = {
      [](Exec& e) { e.args.push_back("x"); },
      [](Exec& e) { e.env.push_back("A=1"); },
      [](Exec& e) { e.cwd = "/app"; },
      [](Exec& e) { e.user = "node"; },
      [](Exec& e) { e.network = NetworkMode::kNone; },
      [](Exec& e) { e.security = SecurityMode::kInsecure; },
      [](Exec& e) { e.hostname = "h"; },
      [](Exec& e) { e.shm_size = 1; },
      [](Exec& e) {
        e.ulimits.push_back({"nofile", 1, 1});
      },
      [](Exec& e) {
        e.extra_hosts.push_back({"db", "1.2.3.4"});
      },
      [](Exec& e) { e.devices.push_back({"vendor.com/class=a"}); },
      [](Exec& e) { e.mounts.push_back(Mount{.type = MountType::kTmpfs, .target = "/t"}); },
      [](Exec& e) { e.mounts[0].readonly = true; },
      [](Exec& e) {
        e.valid_exit_codes = {0, 1};
      },
  };
  std::set<std::string> seen = {CanonicalOp(plain).DumpCanonical()};
  for (auto& change : changes) {
    Step changed = plain;
    change(std::get<Exec>(changed.op));
    EXPECT_TRUE(seen.insert(CanonicalOp(changed).DumpCanonical()).second);
  }
}

TEST(CanonicalOp, DiffersForEveryFieldOfAFileActionThatMatters) {
  Step plain{.op = FileOp{.actions = {Copy{.input = 0, .from = {.path = "a"}, .dest = "/"}}}, .inputs = {{0}, {0}}};
  std::vector<std::function<void(Copy&)>> changes = {
      [](Copy& c) { c.dest = "/b"; },
      [](Copy& c) { c.mode = "644"; },
      [](Copy& c) { c.owner.user = "node"; },
      [](Copy& c) {
        c.owner = {"node", "", 1};
      },
      [](Copy& c) { c.replace = true; },
      [](Copy& c) { c.required = {"/a"}; },
      [](Copy& c) { c.timestamp = Timestamp{0}; },
      [](Copy& c) { c.timestamp = Timestamp{1}; },
  };
  std::set<std::string> seen = {CanonicalOp(plain).DumpCanonical()};
  for (auto& change : changes) {
    Step changed = plain;
    change(std::get<Copy>(std::get<FileOp>(changed.op).actions[0]));
    EXPECT_TRUE(seen.insert(CanonicalOp(changed).DumpCanonical()).second);
  }
}

TEST(CanonicalOp, LeavesOutHowASourceIsObtained) {
  LocalSource local{.name = "context"};
  Step plain{.op = local};
  local.session = "s";
  local.shared_key_hint = "h";
  local.follow_paths = {"a"};
  EXPECT_EQ(CanonicalOp(Step{.op = local}), CanonicalOp(plain));
  HttpSource http{.url = "https://h/x"};
  Step told{.op = http};
  http.auth_header_secret = "S";
  http.user_agent = "u";
  EXPECT_EQ(CanonicalOp(Step{.op = http}), CanonicalOp(told));
}

// A change of this text loses every user's cache: bump engine::kKeySchema with it, on purpose.
TEST(CanonicalOp, TextIsPinned) {
  Step run = RunStep(
      {}, {Root(-1), Mount{.type = MountType::kSecret, .target = "/run/secrets/t", .secret_id = "t", .mode = 0400}});
  EXPECT_EQ(CanonicalOp(run).DumpCanonical(),
            R"({"args":["/bin/sh","-c","make"],"cwd":"/","env":[],"mounts":[{"output":0,"target":"/",)"
            R"("type":"bind"},{"id":"t","mode":256,"target":"/run/secrets/t","type":"secret"}],)"
            R"("op":"exec"})");
}

TEST(Validate, RefusesTwoRootsAndDanglingInputs) {
  Graph graph;
  graph.steps.push_back(RunStep({}, {Root(-1), Mount{.target = "/"}}));
  EXPECT_THAT(Validate(graph).error().message, HasSubstr("2 mounts at /"));
  graph.steps[0] = RunStep({}, {Root(3)});
  EXPECT_THAT(Validate(graph).error().message, HasSubstr("names input 3"));
}

}  // namespace
}  // namespace varve::graph
