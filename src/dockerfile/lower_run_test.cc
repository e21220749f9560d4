// RUN: command lines, here-documents, mounts, modes.
#include "dockerfile/lower_test.h"

namespace varve::dockerfile {
namespace {

class Runs : public LowerTest {
 protected:
  // The mounts of the only RUN of a Dockerfile, without the root.
  std::vector<graph::Mount> Mounts(const std::string& flags) {
    Lowered lowered = Do("FROM a\nWORKDIR /w\nRUN " + flags + " make\n");
    if (lowered.graph.steps.empty()) return {};
    last_ = lowered.graph.steps.back();
    graph_ = lowered.graph;
    std::vector<graph::Mount> mounts = std::get<graph::Exec>(last_.op).mounts;
    EXPECT_EQ(mounts[0].target, "/");
    EXPECT_EQ(mounts[0].output, 0);
    mounts.erase(mounts.begin());
    return mounts;
  }
  std::string InputName(const graph::Mount& mount) {
    if (mount.input < 0) return "scratch";
    return graph_.at(last_.inputs.at(static_cast<size_t>(mount.input))).name;
  }
  graph::Step last_;
  graph::Graph graph_;
};

TEST_F(Runs, ExecFormIsTakenAsItIs) {
  Lowered lowered = Do("FROM a\nRUN [\"echo\", \"$X\"]\n");
  EXPECT_EQ(Last<graph::Exec>(lowered).args, (Texts{"echo", "$X"}));
  EXPECT_EQ(History(lowered), Texts{"RUN echo $X # buildkit"});
  EXPECT_EQ(Last<graph::Exec>(lowered).cwd, "/");
}

TEST_F(Runs, OnScratchTheRootIsEmpty) {
  Lowered lowered = Do("FROM scratch\nRUN [\"x\"]\n");
  EXPECT_EQ(Last<graph::Exec>(lowered).mounts[0].input, -1);
  EXPECT_EQ(lowered.root, (graph::Ref{0, 0}));
}

TEST_F(Runs, HereDocumentIsGivenToTheShell) {
  Lowered lowered = Do("FROM a\nRUN <<EOF\necho 1\necho 2\nEOF\n");
  EXPECT_EQ(Last<graph::Exec>(lowered).args, (Texts{"/bin/sh", "-c", "echo 1\necho 2\n"}));
  EXPECT_EQ(Names(lowered).back(), "[2/2] RUN <<EOF (echo 1...)");
}

TEST_F(Runs, HereDocumentWithShebangIsAProgram) {
  Lowered lowered = Do("FROM a\nRUN <<EOF\n#!/usr/bin/env python\nprint(1)\nEOF\n");
  const auto& exec = Last<graph::Exec>(lowered);
  EXPECT_EQ(exec.args, (Texts{"/bin/sh", "-c", "/dev/pipes/EOF"}));
  ASSERT_EQ(exec.mounts.size(), 2u);
  EXPECT_EQ(exec.mounts[1].target, "/dev/pipes");
  EXPECT_TRUE(exec.mounts[1].readonly);
  const graph::Step& document =
      lowered.graph.at(lowered.graph.steps.back().inputs.at(static_cast<size_t>(exec.mounts[1].input)));
  const auto& file = std::get<graph::MakeFile>(std::get<graph::FileOp>(document.op).actions.at(0));
  EXPECT_EQ(file.path, "/EOF");
  EXPECT_EQ(file.mode, 0755u);
  EXPECT_EQ(file.data, "#!/usr/bin/env python\nprint(1)\n");
  EXPECT_EQ(document.name, "[internal] preparing inline document");
}

TEST_F(Runs, SeveralHereDocumentsAreRebuiltForTheShell) {
  EXPECT_EQ(Last<graph::Exec>(Do("FROM a\nRUN cat <<A - <<B\n1\nA\n2\nB\n")).args,
            (Texts{"/bin/sh", "-c", "cat <<A - <<B\n1\nA\n2\nB"}));
}

TEST_F(Runs, BindMountReadsTheContextByDefault) {
  auto mounts = Mounts("--mount=target=.,source=/sub/../src");
  ASSERT_EQ(mounts.size(), 1u);
  EXPECT_EQ(mounts[0].type, graph::MountType::kBind);
  EXPECT_EQ(mounts[0].target, "/w");
  EXPECT_EQ(mounts[0].source, "src");
  EXPECT_TRUE(mounts[0].readonly);
  EXPECT_EQ(mounts[0].output, -1);
  EXPECT_EQ(InputName(mounts[0]), "[internal] load build context");
}

TEST_F(Runs, BindMountFromAnImageCanBeWritten) {
  auto mounts = Mounts("--mount=from=tools,target=/t,rw");
  EXPECT_FALSE(mounts.at(0).readonly);
  EXPECT_TRUE(InputName(mounts[0]).starts_with("FROM docker.io/library/tools:latest"));
}

TEST_F(Runs, BindMountFromAnEmptyStageIsEmpty) {
  Lowered lowered = Do("FROM scratch AS none\nFROM a\nRUN --mount=from=none,target=/t x\n");
  EXPECT_EQ(Last<graph::Exec>(lowered).mounts.at(1).input, -1);
}

TEST_F(Runs, RootAndMountOfTheSameStageAreInputsOfTheirOwn) {
  Lowered lowered = Do("FROM a AS b\nRUN 1\nFROM b\nRUN --mount=from=b,target=/t --mount=from=b,target=/u x\n");
  EXPECT_EQ(lowered.graph.steps.back().inputs, (std::vector<graph::Ref>{{1, 0}, {1, 0}}));
  EXPECT_EQ(Last<graph::Exec>(lowered).mounts.at(1).input, 1);
  EXPECT_EQ(Last<graph::Exec>(lowered).mounts.at(2).input, 1);
}

TEST_F(Runs, CacheMountsHaveIdsOfTheirTargets) {
  auto mounts = Mounts(
      "--mount=type=cache,target=/root//.cache --mount=type=cache,id=go,target=c,"
      "sharing=locked,uid=5,mode=0700 --mount=type=cache,target=/x,from=a,source=/s");
  ASSERT_EQ(mounts.size(), 3u);
  EXPECT_EQ(mounts[0].type, graph::MountType::kCache);
  EXPECT_EQ(mounts[0].cache_id, "/root/.cache");
  EXPECT_EQ(mounts[0].input, -1);
  EXPECT_EQ(mounts[0].mode, 0755u);
  EXPECT_FALSE(mounts[0].readonly);
  EXPECT_EQ(mounts[1].cache_id, "go");
  EXPECT_EQ(mounts[1].target, "/w/c");
  EXPECT_EQ(mounts[1].sharing, graph::CacheSharing::kLocked);
  EXPECT_EQ(mounts[1].uid, 5u);
  EXPECT_EQ(mounts[1].mode, 0700u);
  EXPECT_EQ(mounts[2].source, "s");
  EXPECT_EQ(mounts[2].mode, 0u) << "content from a source keeps its own";
  EXPECT_GE(mounts[2].input, 0);
}

TEST_F(Runs, CacheIdAndSharingAreNotInTheKey) {
  Mounts("--mount=type=cache,target=/c,id=one");
  std::string one = graph::CanonicalOp(last_).Dump();
  Mounts("--mount=type=cache,target=/c,id=two,sharing=private");
  EXPECT_EQ(graph::CanonicalOp(last_).Dump(), one);
}

TEST_F(Runs, NamespaceOfCacheMountsIsPassedOn) {
  options.build_args = {{"BUILDKIT_CACHE_MOUNT_NS", "team"}, {"BUILDKIT_BUILD_NAME", "x"}};
  Lowered lowered = Do("FROM a\n");
  EXPECT_EQ(lowered.cache_mount_namespace, "team");
  EXPECT_EQ(lowered.build_name, "x");
}

TEST_F(Runs, TmpfsSecretAndSsh) {
  auto mounts = Mounts(
      "--mount=type=tmpfs,target=/t,size=64m --mount=type=secret,id=dir/key "
      "--mount=type=secret,id=tok,env=TOKEN,required --mount=type=ssh "
      "--mount=type=ssh,id=k,mode=0660");
  ASSERT_EQ(mounts.size(), 5u);
  EXPECT_EQ(mounts[0].type, graph::MountType::kTmpfs);
  EXPECT_EQ(mounts[0].tmpfs_size, 64u << 20);
  EXPECT_EQ(mounts[1].secret_id, "dir/key");
  EXPECT_EQ(mounts[1].target, "/run/secrets/key");
  EXPECT_EQ(mounts[1].mode, 0400u);
  EXPECT_FALSE(mounts[1].required);
  EXPECT_EQ(mounts[2].target, "");
  EXPECT_EQ(mounts[2].env_name, "TOKEN");
  EXPECT_TRUE(mounts[2].required);
  EXPECT_EQ(mounts[3].secret_id, "default");
  EXPECT_EQ(mounts[3].target, "/run/buildkit/ssh_agent.0");
  EXPECT_EQ(mounts[3].mode, 0600u);
  EXPECT_EQ(mounts[4].secret_id, "k");
  EXPECT_EQ(mounts[4].target, "/run/buildkit/ssh_agent.1");
  EXPECT_EQ(mounts[4].mode, 0660u);
}

TEST_F(Runs, SecretsInTheEnvironmentAreMaskedInNames) {
  Lowered lowered = Do("FROM a\nENV TOKEN=x\nRUN --mount=type=secret,id=t,env=TOKEN login $TOKEN\n");
  EXPECT_EQ(lowered.graph.steps.back().text, "RUN --mount=type=secret,id=t,env=TOKEN login ****");
}

TEST_F(Runs, ValuesOfMountsAreExpanded) {
  Lowered lowered = Do("FROM a\nARG D=/d\nRUN --mount=type=cache,target=$D/c,id=x$D x\n");
  EXPECT_EQ(Last<graph::Exec>(lowered).mounts.at(1).target, "/d/c");
  EXPECT_EQ(Last<graph::Exec>(lowered).mounts.at(1).cache_id, "x/d");
}

TEST_F(Runs, MountsThatCannotBeAreRefused) {
  EXPECT_EQ(Error("FROM a\nRUN --mount=target=/ x\n"), "2: invalid mount target \"/\"");
  EXPECT_EQ(Error("FROM a\nRUN --mount=type=secret x\n"), "2: invalid secret mount. one of source, target required");
}

TEST_F(Runs, EntitlementsAreNeededForWhatIsDangerous) {
  const std::string host = "FROM a\nRUN --network=host x\n";
  EXPECT_EQ(Error(host),
            "2: RUN --network=host is not allowed: the build was not given the "
            "entitlement network.host");
  EXPECT_TRUE(Error("FROM a\nRUN --security=insecure x\n").ends_with("security.insecure"));
  EXPECT_TRUE(Error("FROM a\nRUN --device=vendor.com/gpu=0 x\n").ends_with("device=vendor.com/gpu=0"));
  options.entitlements = {"network.host", "security.insecure", "device"};
  EXPECT_EQ(Last<graph::Exec>(Do(host)).network, graph::NetworkMode::kHost);
  EXPECT_EQ(Last<graph::Exec>(Do("FROM a\nRUN --security=insecure x\n")).security, graph::SecurityMode::kInsecure);
  EXPECT_EQ(Last<graph::Exec>(Do("FROM a\nRUN --device=vendor.com/gpu=0 --device=b,required x\n")).devices,
            (std::vector<graph::Device>{{"vendor.com/gpu=0", false}, {"b", true}}));
}

TEST_F(Runs, NetworkOfTheBuildHoldsUnlessTheInstructionSaysOtherwise) {
  options.network = graph::NetworkMode::kNone;
  EXPECT_EQ(Last<graph::Exec>(Do("FROM a\nRUN x\n")).network, graph::NetworkMode::kNone);
  EXPECT_EQ(Last<graph::Exec>(Do("FROM a\nRUN --network=default x\n")).network, graph::NetworkMode::kNone);
  options.network = graph::NetworkMode::kHost;
  EXPECT_EQ(Last<graph::Exec>(Do("FROM a\nRUN --network=none x\n")).network, graph::NetworkMode::kNone);
  EXPECT_TRUE(Error("FROM a\nRUN x\n").starts_with("2: --network host is not allowed"));
}

TEST_F(Runs, HostnameComesFromItsBuildArgument) {
  options.build_args = {{"BUILDKIT_SANDBOX_HOSTNAME", "box"}};
  EXPECT_EQ(Last<graph::Exec>(Do("FROM a\nRUN x\n")).hostname, "box");
  options.hostname = "h";
  EXPECT_EQ(Last<graph::Exec>(Do("FROM a\nRUN x\n")).hostname, "box");
}

TEST_F(Runs, OptionsOfTheBuildReachTheStep) {
  options.hostname = "h";
  options.extra_hosts = {{"db", "10.0.0.1"}};
  options.shm_size = 1 << 20;
  options.ulimits = {{"nofile", 1, 2}};
  options.resources = {{"memory", "1g"}};
  options.cgroup_parent = "p";
  Lowered lowered = Do("FROM a\nRUN x\n");
  const auto& exec = Last<graph::Exec>(lowered);
  EXPECT_EQ(exec.hostname, "h");
  EXPECT_EQ(exec.extra_hosts, options.extra_hosts);
  EXPECT_EQ(exec.shm_size, 1u << 20);
  EXPECT_EQ(exec.ulimits.at(0).hard, 2);
  EXPECT_EQ(exec.resources.at("memory"), "1g");
  EXPECT_EQ(exec.cgroup_parent, "p");
}

TEST_F(Runs, OutlineListsWhatTheTargetAsksFor) {
  Lowered lowered =
      Do("# V is a version\nARG V=1\nARG U=unused\nFROM alpine:$V AS deps\n"
         "RUN --mount=type=secret,id=s,required --mount=type=ssh --mount=type=cache,target=/c x\n"
         "# out is the result\nFROM alpine AS out\n# N a name\nARG N=x$V\nCOPY --from=deps /x /\n");
  EXPECT_EQ(ToText(lowered.outline),
            "TARGET:      out\nDESCRIPTION: is the result\n\n"
            "BUILD ARG   VALUE   DESCRIPTION\nV           1       is a version\nN           x      "
            " a name\n\n"
            "SECRET   REQUIRED\ns        true\n\nSSH       REQUIRED\ndefault   \n\n");
  Json json = ToJson(lowered.outline, "src");
  EXPECT_EQ(json.GetArray("cache").at(0).GetString("ID"), "/c");
  EXPECT_EQ(json.GetArray("sources").at(0).as_string(), "c3Jj");
  EXPECT_EQ(json.GetArray("secrets").at(0).Dump(),
            R"({"name":"s","required":true,"location":{"ranges":[{"start":{"line":5},"end":{"line":5}}]}})");
}

TEST_F(Runs, TargetsAreTheStagesOfTheFile) {
  auto file = ParseDockerfile("# base is first\nFROM a AS base\nFROM --platform=$X base\n");
  ASSERT_TRUE(file.has_value());
  std::vector<Target> targets = ListTargets(*file);
  EXPECT_EQ(ToText(targets), "TARGET    DESCRIPTION\nbase      is first\n(default) \n");
  EXPECT_EQ(ToJson(targets, "").GetArray("targets").at(1).Dump(),
            R"({"default":true,"base":"base","platform":"$X","location":{"ranges":[)"
            R"({"start":{"line":3},"end":{"line":3}}]}})");
}

TEST_F(Runs, ACommentTurnsTracingOffForTheNextStepAlone) {
  Lowered lowered = Do("FROM a\n# varve:trace=off it asks a server\nRUN one\nRUN two\n# varve:trace=on\nRUN three\n");
  std::vector<bool> untraced;
  for (const graph::Step& step : lowered.graph.steps) untraced.push_back(step.no_trace);
  EXPECT_EQ(untraced, (std::vector<bool>{false, true, false, false}));
  // It decides how the step is cached, not what it is.
  EXPECT_EQ(graph::CanonicalOp(lowered.graph.steps[1]).Dump(),
            graph::CanonicalOp(Do("FROM a\nRUN one\n").graph.steps[1]).Dump());
}

TEST_F(Runs, ATraceCommentIsOnOrOff) {
  EXPECT_EQ(Error("FROM a\n# varve:trace=none\nRUN one\n"), "3: invalid comment \"# varve:trace=none\"");
}

}  // namespace
}  // namespace varve::dockerfile
