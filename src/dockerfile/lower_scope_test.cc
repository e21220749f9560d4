// Variables: who sees which value.
#include "dockerfile/lower_test.h"

namespace varve::dockerfile {
namespace {

class Scope : public LowerTest {};

TEST_F(Scope, GlobalArgIsUnknownInAStageUntilDeclaredThere) {
  Lowered lowered = Do("ARG V=1\nFROM alpine:$V\nRUN a\nARG V\nRUN b\n");
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/alpine:1 linux/amd64"});
  const auto& first = std::get<graph::Exec>(lowered.graph.steps[1].op);
  EXPECT_EQ(EnvOf(first, "V"), std::nullopt);
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "V"), "1");
}

TEST_F(Scope, BuildArgBeatsDefaultAndDefaultBeatsGlobalArg) {
  const char* text = "ARG A=global\nARG B=global\nFROM alpine\nARG A=stage\nARG B\nARG C=stage\nRUN x\n";
  Lowered lowered = Do(text);
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "A"), "stage");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "B"), "global");
  options.build_args = {{"A", "given"}, {"B", "given"}, {"C", "old"}, {"C", "given"}};
  lowered = Do(text);
  for (const char* name : {"A", "B", "C"}) {
    EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), name), "given") << name;
  }
}

TEST_F(Scope, DefaultsOfGlobalArgsSeeEarlierGlobalArgs) {
  Do("ARG A=3\nARG B=al${A}\nFROM $B:$A\n");
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/al3:3 linux/amd64"});
}

TEST_F(Scope, ArgWithoutAnyValueIsNotSet) {
  Lowered lowered = Do("FROM alpine\nARG A\nRUN x\n");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "A"), std::nullopt);
  EXPECT_EQ(History(lowered), (Texts{"-ARG A", "RUN |1 A= /bin/sh -c x # buildkit"}));
}

TEST_F(Scope, EnvBeatsAnEarlierArg) {
  Lowered lowered = Do("FROM alpine\nARG A=arg\nENV A=env\nRUN x\n");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "A"), "env");
  EXPECT_EQ(History(lowered).back(), "RUN |1 A=env /bin/sh -c x # buildkit");
}

TEST_F(Scope, ArgAfterEnvIsSeenByRunButTheImageKeepsTheEnv) {
  options.build_args = {{"A", "given"}};
  Lowered lowered = Do("FROM alpine\nENV A=env\nARG A\nRUN x\n");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "A"), "given");
  EXPECT_EQ(lowered.config.GetEnv("A"), "env");
}

TEST_F(Scope, ArgsOfRunAreListedInItsHistoryOnce) {
  Lowered lowered = Do("FROM alpine\nARG B=1\nARG A=2 B=3\nRUN make\n");
  EXPECT_EQ(History(lowered), (Texts{"-ARG B=1", "-ARG A=2 B=3", "RUN |2 B=3 A=2 /bin/sh -c make # buildkit"}));
}

TEST_F(Scope, AllWordsOfAnInstructionSeeTheEnvironmentBeforeIt) {
  Lowered lowered = Do("FROM alpine\nENV a=1\nENV a=2 b=$a\nRUN x\n");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "a"), "2");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "b"), "1");
}

TEST_F(Scope, StageBuiltFromAStageInheritsAllOfIt) {
  Lowered lowered =
      Do("FROM alpine AS a\nARG X=1\nENV Y=2\nUSER u\nWORKDIR /w\nSHELL [\"bash\", \"-c\"]\n"
         "FROM a\nWORKDIR sub\nRUN x\n");
  const auto& exec = Last<graph::Exec>(lowered);
  EXPECT_EQ(EnvOf(exec, "X"), "1");
  EXPECT_EQ(EnvOf(exec, "Y"), "2");
  EXPECT_EQ(exec.user, "u");
  EXPECT_EQ(exec.cwd, "/w/sub");
  EXPECT_EQ(exec.args, (Texts{"bash", "-c", "x"}));
  EXPECT_EQ(History(lowered).back(), "RUN |1 X=1 bash -c x # buildkit");
}

TEST_F(Scope, StagesDoNotSeeEachOthersArgs) {
  Lowered lowered = Do("FROM alpine AS a\nARG X=1\nFROM alpine\nCOPY --from=a /x /x\nRUN x\n");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "X"), std::nullopt);
}

TEST_F(Scope, AutomaticArgsDescribePlatformsAndTarget) {
  options.target_platform = {.os = "linux", .architecture = "arm", .variant = "v7"};
  Lowered lowered =
      Do("FROM --platform=$BUILDPLATFORM alpine AS out\n"
         "ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDARCH TARGETSTAGE\nRUN x\n");
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/alpine:latest linux/amd64"});
  const auto& exec = Last<graph::Exec>(lowered);
  EXPECT_EQ(EnvOf(exec, "TARGETPLATFORM"), "linux/arm/v7");
  EXPECT_EQ(EnvOf(exec, "TARGETARCH"), "arm");
  EXPECT_EQ(EnvOf(exec, "TARGETVARIANT"), "v7");
  EXPECT_EQ(EnvOf(exec, "BUILDARCH"), "amd64");
  EXPECT_EQ(EnvOf(exec, "TARGETSTAGE"), "out");
  EXPECT_EQ(lowered.config.platform().ToString(), "linux/arm/v7");
}

TEST_F(Scope, AutomaticArgsCanBeOverridden) {
  options.build_args = {{"TARGETARCH", "mips"}};
  Lowered lowered = Do("FROM alpine\nARG TARGETARCH\nRUN x\n");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "TARGETARCH"), "mips");
}

TEST_F(Scope, ProxySettingsAreNeitherInTheKeyNorInTheImage) {
  std::string plain = graph::CanonicalOp(Do("FROM alpine\nRUN x\n").graph.steps.back()).Dump();
  options.build_args = {{"http_proxy", "http://p:1"}};
  Lowered lowered = Do("FROM alpine\nRUN x\n");
  const auto& exec = Last<graph::Exec>(lowered);
  EXPECT_EQ(exec.proxy_env, (Texts{"HTTP_PROXY=http://p:1", "http_proxy=http://p:1"}));
  EXPECT_EQ(graph::CanonicalOp(lowered.graph.steps.back()).Dump(), plain);
  EXPECT_EQ(History(lowered), Texts{"RUN /bin/sh -c x # buildkit"});
  EXPECT_EQ(lowered.config.GetEnv("http_proxy"), std::nullopt);
}

TEST_F(Scope, BuildArgsThatNobodyDeclaresChangeNothing) {
  std::string plain = graph::Dump(Do("FROM alpine\nRUN x\n").graph).Dump();
  options.build_args = {{"UNKNOWN", "1"}};
  EXPECT_EQ(graph::Dump(Do("FROM alpine\nRUN x\n").graph).Dump(), plain);
}

TEST_F(Scope, SbomArgsAreForTheBuilderOnly) {
  options.build_args = {{"BUILDKIT_SBOM_SCAN_STAGE", "true"}};
  Lowered lowered =
      Do("FROM alpine AS a\nARG BUILDKIT_SBOM_SCAN_STAGE\nRUN x\n"
         "FROM alpine\nARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nCOPY --from=a /x /\n");
  ASSERT_EQ(lowered.sbom_stages.size(), 1u);
  EXPECT_EQ(lowered.sbom_stages[0].first, "a");
  EXPECT_TRUE(lowered.sbom_context);
  EXPECT_TRUE(lowered.context.has_value());
  for (const graph::Step& step : lowered.graph.steps) {
    if (const auto* exec = std::get_if<graph::Exec>(&step.op)) {
      EXPECT_EQ(EnvOf(*exec, "BUILDKIT_SBOM_SCAN_STAGE"), std::nullopt);
    }
  }
}

TEST_F(Scope, UndefinedVariablesAreReported) {
  Do("ARG VERSION=1\nFROM alpine$VERSON\nARG NAME=x\nCOPY $NAM /\nENV A=$NAME\n");
  EXPECT_EQ(Warnings(), (Texts{"UndefinedArgInFrom: FROM argument 'VERSON' is not declared (did you mean "
                               "VERSION?) (line 2)",
                               "UndefinedVar: Usage of undefined variable '$NAM' (did you mean $NAME?) "
                               "(line 4)"}));
}

TEST_F(Scope, SourceDateEpochReachesHistoryAndDeclaringStages) {
  options.build_args = {{"SOURCE_DATE_EPOCH", "1700000000"}};
  Lowered lowered = Do("FROM alpine\nARG SOURCE_DATE_EPOCH\nRUN x\n");
  EXPECT_EQ(lowered.epoch, 1700000000);
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "SOURCE_DATE_EPOCH"), "1700000000");
  EXPECT_EQ(lowered.history.back().history.created->seconds(), 1700000000);
  EXPECT_EQ(lowered.history[0].history.created->seconds(), 1704164645) << "the base image keeps its own";
}

TEST_F(Scope, SourceDateEpochCanNameAStageOfOneRemoteAdd) {
  const char* text =
      "FROM scratch AS src\nARG TAG=v1\nADD https://example.com/r.git#$TAG /\n"
      "FROM alpine\nARG SOURCE_DATE_EPOCH\nRUN x\n";
  options.build_args = {{"SOURCE_DATE_EPOCH", "src"}};
  EXPECT_EQ(Error(text), "3: SOURCE_DATE_EPOCH=src needs the time of a remote source, which is not known here");
  options.source_time = [](const graph::Op& op, const std::string& name) -> Result<std::optional<int64_t>> {
    EXPECT_EQ(name, "[internal] resolve SOURCE_DATE_EPOCH source stage src");
    EXPECT_EQ(std::get<graph::GitSource>(op).ref, "v1");
    return std::optional<int64_t>(42);
  };
  EXPECT_EQ(EnvOf(Last<graph::Exec>(Do(text)), "SOURCE_DATE_EPOCH"), "42");
  EXPECT_EQ(Error("FROM alpine AS src\nRUN x\n"), "1: SOURCE_DATE_EPOCH stage must use FROM scratch");
  EXPECT_EQ(Error("FROM alpine\n"), "0: invalid SOURCE_DATE_EPOCH: src");
}

TEST_F(Scope, ALocalContextHasNoTimeOfItsOwn) {
  options.build_args = {{"SOURCE_DATE_EPOCH", "context"}};
  Lowered lowered = Do("FROM alpine\nARG SOURCE_DATE_EPOCH\nRUN x\n");
  EXPECT_EQ(lowered.epoch, std::nullopt);
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "SOURCE_DATE_EPOCH"), std::nullopt);
}

}  // namespace
}  // namespace varve::dockerfile
