// Items of doc/dockerfile-support.md that are about the language as a whole and not about one part
// of the code.
#include "dockerfile/frontend.h"
#include "dockerfile/lower_test.h"

namespace varve::dockerfile {
namespace {

class Language : public LowerTest {};

TEST_F(Language, ExpandsTheWordsOfTheseInstructions) {
  Lowered lowered =
      Do("ARG I=alpine\nARG P=linux/amd64\nFROM --platform=$P $I\nARG V=v N=1\n"
         "ENV E=$V$N\nLABEL $V=$E\nEXPOSE 8$N\nSTOPSIGNAL $N\nVOLUME /$V\nUSER $V\n"
         "WORKDIR /$E\nARG D=$E\n");
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/alpine:latest linux/amd64"});
  EXPECT_EQ(lowered.config.GetEnv("E"), "v1");
  EXPECT_EQ(ConfigText(lowered, "Labels"), R"({"v":"v1"})");
  EXPECT_EQ(ConfigText(lowered, "ExposedPorts"), R"({"81/tcp":{}})");
  EXPECT_EQ(ConfigText(lowered, "StopSignal"), R"("1")");
  EXPECT_EQ(ConfigText(lowered, "Volumes"), R"({"/v":{}})");
  EXPECT_EQ(ConfigText(lowered, "User"), R"("v")");
  EXPECT_EQ(ConfigText(lowered, "WorkingDir"), R"("/v1")");
  EXPECT_EQ(History(lowered).back(), "-ARG D=v1");
}

TEST_F(Language, ExpandsPathsAndFlagsOfFilesButNotTheirFrom) {
  Lowered lowered =
      Do("FROM alpine\nARG V=v O=7 M=755 X=x\n"
         "COPY --chown=$O --chmod=$M --exclude=$X $V /$V/\nADD $V.tar /$V\n");
  auto names = Names(lowered);
  EXPECT_EQ(names[names.size() - 2], "[2/3] COPY --chown=7 --chmod=755 --exclude=x v /v/");
  EXPECT_EQ(names.back(), "[3/3] ADD v.tar /v");
}

TEST_F(Language, LeavesTheBodiesOfCommandsToTheShell) {
  Lowered lowered =
      Do("FROM alpine\nARG V=v\nSHELL [\"/bin/$V\"]\nRUN echo $V\nCMD [\"$V\"]\n"
         "ENTRYPOINT [\"$V\"]\nHEALTHCHECK CMD echo $V\n");
  const graph::Exec* exec = nullptr;
  for (const graph::Step& step : lowered.graph.steps) {
    if (const auto* found = std::get_if<graph::Exec>(&step.op)) exec = found;
  }
  ASSERT_NE(exec, nullptr);
  EXPECT_EQ(exec->args, (Texts{"/bin/$V", "echo $V"}));
  EXPECT_EQ(ConfigText(lowered, "Cmd"), R"(["$V"])");
  EXPECT_EQ(ConfigText(lowered, "Entrypoint"), R"(["$V"])");
  EXPECT_EQ(ConfigText(lowered, "Shell"), R"(["/bin/$V"])");
}

TEST_F(Language, KnowsElevenAutomaticArguments) {
  options.target_platform = {.os = "linux", .architecture = "arm", .variant = "v7"};
  Lowered lowered =
      Do("FROM --platform=linux/arm/v7 alpine\n"
         "ARG BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT\n"
         "ARG TARGETPLATFORM TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT "
         "TARGETSTAGE\nRUN x\n");
  const auto& exec = Last<graph::Exec>(lowered);
  const std::map<std::string, std::string> wanted = {{"BUILDPLATFORM", "linux/amd64"},
                                                     {"BUILDOS", "linux"},
                                                     {"BUILDOSVERSION", ""},
                                                     {"BUILDARCH", "amd64"},
                                                     {"BUILDVARIANT", ""},
                                                     {"TARGETPLATFORM", "linux/arm/v7"},
                                                     {"TARGETOS", "linux"},
                                                     {"TARGETOSVERSION", ""},
                                                     {"TARGETARCH", "arm"},
                                                     {"TARGETVARIANT", "v7"},
                                                     {"TARGETSTAGE", "default"}};
  for (const auto& [name, value] : wanted) EXPECT_EQ(EnvOf(exec, name), value) << name;
}

TEST_F(Language, TakesProxySettingsInTenSpellings) {
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy",
                           "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"}) {
    options.build_args = {{name, "p"}};
    EXPECT_EQ(Last<graph::Exec>(Do("FROM alpine\nRUN x\n")).proxy_env.size(), 2u) << name;
  }
}

TEST_F(Language, NamesOfStagesAreTheSameInAnyCaseAndNumbersAreForCopyOnly) {
  Do("FROM alpine AS Base\nFROM bASE\nCOPY --from=BASE /x /\n");
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/alpine:latest linux/amd64"});
  Do("FROM debian AS one\nFROM 0\nCOPY --from=0 /x /\n");
  EXPECT_EQ(images.asked().front(), "docker.io/library/0:latest linux/amd64") << "FROM 0 is an image";
}

TEST_F(Language, HostnameOfStepsComesFromTheBuildArgument) {
  options.hostname = "option";
  EXPECT_EQ(Last<graph::Exec>(Do("FROM alpine\nRUN x\n")).hostname, "option");
  options.build_args = {{"BUILDKIT_SANDBOX_HOSTNAME", "argument"}};
  EXPECT_EQ(Last<graph::Exec>(Do("FROM alpine\nRUN x\n")).hostname, "argument");
}

TEST_F(Language, ArgumentsOfTheBuilderReachNoStep) {
  std::string plain = graph::CanonicalOp(Do("FROM alpine\nRUN x\n").graph.steps.back()).Dump();
  options.build_args = {{"BUILDKIT_INLINE_BUILDINFO_ATTRS", "1"},
                        {"BUILDKIT_MULTI_PLATFORM", "1"},
                        {"BUILDKIT_BUILD_NAME", "n"},
                        {"BUILDKIT_SYNTAX", "dockerfile.v0"}};
  Lowered lowered = Do("FROM alpine\nRUN x\n");
  EXPECT_EQ(graph::CanonicalOp(lowered.graph.steps.back()).Dump(), plain);
  EXPECT_EQ(lowered.build_name, "n");
}

TEST_F(Language, OnlyTheLastOfSeveralCommandsCounts) {
  Lowered lowered =
      Do("FROM alpine\nCMD [\"a\"]\nCMD [\"b\"]\nENTRYPOINT [\"c\"]\n"
         "ENTRYPOINT [\"d\"]\nHEALTHCHECK CMD e\nHEALTHCHECK NONE\n");
  EXPECT_EQ(ConfigText(lowered, "Cmd"), R"(["b"])");
  EXPECT_EQ(ConfigText(lowered, "Entrypoint"), R"(["d"])");
  EXPECT_EQ(ConfigText(lowered, "Healthcheck"), R"({"Test":["NONE"]})");
}

TEST_F(Language, EmptyExecFormsRemoveWhatTheBaseHas) {
  images.AddImage("docker.io/library/app:latest", R"({"Entrypoint": ["/x"], "Cmd": ["y"]})");
  Lowered lowered = Do("FROM app\nENTRYPOINT []\nCMD []\n");
  EXPECT_EQ(ConfigText(lowered, "Cmd"), "absent");
  EXPECT_EQ(ConfigText(lowered, "Entrypoint"), "absent");
}

TEST_F(Language, DurationsOfHealthcheckAreStoredAndDefaultsAreNot) {
  Lowered lowered = Do("FROM alpine\nHEALTHCHECK --interval=1m --start-interval=2s --retries=4 CMD x\n");
  EXPECT_EQ(ConfigText(lowered, "Healthcheck"), R"({"Interval":60000000000,"Retries":4,"StartInterval":2000000000,)"
                                                R"("Test":["CMD-SHELL","x"]})");
  lowered = Do("FROM alpine\nHEALTHCHECK CMD [\"x\"]\n");
  EXPECT_EQ(ConfigText(lowered, "Healthcheck"), R"({"Test":["CMD","x"]})");
}

std::string Frontend(std::string_view text, const BuildArgs& args = {}) {
  auto mine = CheckFrontend(text, args);
  if (mine) return "";
  return fmt::format("{}: {}", mine.error().span.start_line, mine.error().error.message);
}

TEST(Frontend, DockerfilesFromAnywhereAreReadHere) {
  for (const char* name :
       {"docker/dockerfile:1", "docker/dockerfile:1.7-labs", "docker.io/docker/dockerfile-upstream:master",
        "dockerfile.v0", "mirror.example.com/docker/dockerfile:1.4 and more"}) {
    EXPECT_EQ(Frontend(std::string("# syntax=") + name + "\nFROM a\n"), "") << name;
  }
  EXPECT_EQ(Frontend("FROM a\n"), "");
}

// A daemon runs other images, whatever they are called.
TEST(Frontend, DockersIsTheOneOfItsName) {
  for (const char* name : {"docker/dockerfile", "docker/dockerfile:1.7-labs", "docker/dockerfile-upstream:master",
                           "dockerfile.v0", "localhost:5000/hub/docker/dockerfile:1"}) {
    EXPECT_TRUE(IsDockersFrontend(name)) << name;
  }
  for (const char* name :
       {"localhost:5000/dockerfile", "example.com/docker/dockerfile-frontend", "notdocker/dockerfile", ""}) {
    EXPECT_FALSE(IsDockersFrontend(name)) << name;
  }
}

TEST(Frontend, IsAskedForWithItsCommand) {
  auto wanted = FrontendOf("# syntax=example.com/fe:1 fast\n", {});
  ASSERT_TRUE(wanted);
  EXPECT_EQ(wanted->frontend, "example.com/fe:1");
  EXPECT_EQ(wanted->command, "example.com/fe:1 fast");
  EXPECT_EQ(FrontendOf("# syntax=example.com/fe:1\n", {{"BUILDKIT_SYNTAX", " other slow "}})->command, "other slow");
  EXPECT_FALSE(FrontendOf("FROM a\n", {}));
}

TEST(Frontend, OthersAreRefusedUnlessTheBuildArgumentSaysOtherwise) {
  constexpr std::string_view kText = "# syntax=example.com/buildpack\nhello\n";
  EXPECT_EQ(Frontend(kText),
            "1: the front end \"example.com/buildpack\" is not supported by varve build, which runs no "
            "front-end images");
  EXPECT_EQ(Frontend(kText, {{"BUILDKIT_SYNTAX", "dockerfile.v0"}}), "");
  EXPECT_NE(Frontend("FROM a\n", {{"BUILDKIT_SYNTAX", "example.com/x"}}), "");
}

}  // namespace
}  // namespace varve::dockerfile
