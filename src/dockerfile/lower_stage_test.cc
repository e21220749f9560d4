// Stages, base images, triggers, and what instructions do to the image's config.
#include "dockerfile/lower_test.h"

namespace varve::dockerfile {
namespace {

class Stages : public LowerTest {};

TEST_F(Stages, OnlyStagesThatTheTargetNeedsAreLowered) {
  const char* text = "FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2\nFROM c\nCOPY --from=one /x /\n";
  Lowered lowered = Do(text);
  EXPECT_EQ(images.asked(),
            (Texts{"docker.io/library/a:latest linux/amd64", "docker.io/library/c:latest linux/amd64"}));
  EXPECT_EQ(Names(lowered),
            (Texts{"[one 1/2] FROM docker.io/library/a:latest", "[one 2/2] RUN 1",
                   "[stage-2 1/2] FROM docker.io/library/c:latest", "[stage-2 2/2] COPY --from=one /x /"}));
}

TEST_F(Stages, TargetIsFoundByNameNotByNumber) {
  const char* text = "FROM a AS Base\nRUN 1\nFROM b\nRUN 2\n";
  options.target = "BASE";
  EXPECT_EQ(Do(text).graph.steps.back().text, "RUN 1");
  options.target = "1";
  EXPECT_TRUE(Error(text).starts_with("0: target stage \"1\" could not be found"));
  options.target = "bse";
  EXPECT_EQ(Error(text), "0: target stage \"bse\" could not be found (did you mean base?)");
}

TEST_F(Stages, ScratchIsAnEmptyFileSystem) {
  Lowered lowered = Do("FROM scratch\nENV A=1\n");
  EXPECT_EQ(lowered.root, std::nullopt);
  EXPECT_TRUE(lowered.graph.steps.empty());
  EXPECT_EQ(ConfigText(lowered, "WorkingDir"), "\"/\"");
  EXPECT_EQ(lowered.config.platform().ToString(), "linux/amd64");
}

TEST_F(Stages, AStageBuiltFromAStageContinuesIt) {
  Lowered lowered = Do("FROM a AS one\nRUN 1\nFROM one\nRUN 2\n");
  EXPECT_EQ(Names(lowered),
            (Texts{"[one 1/2] FROM docker.io/library/a:latest", "[one 2/2] RUN 1", "[stage-1 1/1] RUN 2"}));
  EXPECT_EQ(lowered.history.size(), 3u);
  EXPECT_EQ(lowered.base_history, 1u);
  EXPECT_EQ(lowered.history[1].step, 1u);
  EXPECT_EQ(lowered.history[2].step, 2u);
}

TEST_F(Stages, TheSameImageIsOneStep) {
  Lowered lowered = Do("FROM a AS one\nRUN 1\nFROM a\nCOPY --from=one /x /\nCOPY --from=a /y /\n");
  EXPECT_EQ(images.asked().size(), 1u);
  EXPECT_EQ(std::ranges::count_if(lowered.graph.steps, [](const auto& step) { return graph::IsSource(step.op); }), 1);
  EXPECT_EQ(lowered.images.size(), 1u);
}

TEST_F(Stages, ImagesOfCopyGetNoNumber) {
  Lowered lowered = Do("FROM a\nCOPY --from=b /x /\n");
  EXPECT_EQ(Names(lowered), (Texts{"[stage-0 1/2] FROM docker.io/library/a:latest", "FROM docker.io/library/b:latest",
                                   "[stage-0 2/2] COPY --from=b /x /"}));
}

TEST_F(Stages, EqualStepsOfTwoStagesHaveEqualOperations) {
  Lowered lowered =
      Do("FROM a AS one\nRUN 1\nFROM a AS two\nRUN 1\nFROM a\n"
         "COPY --from=one /x /\nCOPY --from=two /x /\n");
  const auto& steps = lowered.graph.steps;
  ASSERT_EQ(steps[1].text, "RUN 1");
  ASSERT_EQ(steps[2].text, "RUN 1");
  EXPECT_EQ(graph::CanonicalOp(steps[1]).Dump(), graph::CanonicalOp(steps[2]).Dump());
  EXPECT_EQ(steps[1].inputs, steps[2].inputs);
}

TEST_F(Stages, ErrorsNameThePlace) {
  EXPECT_EQ(Error("ARG B\nFROM $B\n"), "2: base name ($B) should not be blank");
  EXPECT_EQ(Error("FROM a AS x\nCOPY --from=y /a /\nFROM b AS y\nFROM x\n"),
            "2: cannot copy from stage \"y\", it needs to be defined before current stage \"x\"");
  EXPECT_EQ(Error("FROM a AS x\nRUN --mount=from=y,target=/y ls\nFROM b AS y\nFROM x\n"),
            "2: cannot mount from stage \"y\" to \"/y\", stage needs to be defined before current "
            "command");
  EXPECT_EQ(Error("FROM a AS x\nCOPY --from=x /a /\n"), "2: circular dependency detected on stage: x");
  EXPECT_EQ(Error("FROM a\nCOPY --from=7 /a /\n"), "2: invalid stage index 7");
  EXPECT_EQ(Error("FROM a\nSTOPSIGNAL SIGNOPE\n"), "2: invalid signal: SIGNOPE");
  EXPECT_EQ(Error("FROM a\nSTOPSIGNAL 0\n"), "2: invalid signal: 0");
  EXPECT_EQ(ConfigText(Do("FROM a\nSTOPSIGNAL 900\n"), "StopSignal"), "\"900\"");
  EXPECT_EQ(Error("FROM a\nENV A=\nVOLUME $A\n"), "3: VOLUME specified can not be an empty string");
  EXPECT_EQ(Error("ARG A=1\n"), "0: dockerfile contains no stages to build");
  EXPECT_EQ(Error("FROM --platform=$P a\n"), "1: empty platform value from expression $P");
  EXPECT_EQ(Error("FROM --platform=$BULIDPLATFORM a\n"),
            "1: empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)");
  images.missing = "docker.io/library/gone:latest";
  EXPECT_EQ(Error("FROM a AS x\n\nFROM gone\n"), "3: docker.io/library/gone:latest: not found");
}

TEST_F(Stages, AMisspeltStageIsSuggestedWhenThereIsNoSuchImage) {
  images.missing = "docker.io/library/biuld:latest";
  EXPECT_EQ(Error("FROM a AS build\nFROM b\nCOPY --from=biuld /x /\n"),
            "3: docker.io/library/biuld:latest: not found (did you mean build?)");
  // Docker Hub wants a login before it says that there is none, and may be out of reach.
  for (Code code : {Code::kInvalid, Code::kUnavailable}) {
    images.missing_code = code;
    EXPECT_EQ(Error("FROM a AS build\nFROM b\nCOPY --from=biuld /x /\n"),
              "3: docker.io/library/biuld:latest: not found (did you mean build?)");
  }
}

TEST_F(Stages, UnneededStagesMayNameMissingImagesButNotImpossibleOnes) {
  images.missing = "docker.io/library/gone:latest";
  Do("FROM gone AS x\nFROM a\n");
  EXPECT_TRUE(Error("FROM Not/A/Name\nFROM a\n").starts_with("1: failed to parse stage name \"Not/A/Name\": "));
}

TEST_F(Stages, PlatformOfFromIsAskedForAndAMismatchIsReported) {
  images.AddImage("docker.io/library/old:latest", "{}");
  Lowered lowered = Do("FROM --platform=linux/arm64 old AS arm64\nRUN x\n");
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/old:latest linux/arm64"});
  EXPECT_EQ(lowered.graph.steps[1].platform.ToString(), "linux/arm64");
  EXPECT_EQ(Warnings(), Texts{"InvalidBaseImagePlatform: Base image old was pulled with platform "
                              "\"linux/amd64\", expected \"linux/arm64\" for current build (line 1)"});
  EXPECT_EQ(lowered.config.platform().ToString(), "linux/amd64") << "what was asked for";
}

TEST_F(Stages, NamesTellPlatformsInBuildsForSeveral) {
  options.multi_platform = true;
  options.target_platform = {.os = "linux", .architecture = "arm64"};
  EXPECT_EQ(Names(Do("FROM --platform=$BUILDPLATFORM a AS x\nARG TARGETARCH\nRUN x\nFROM b\n"
                     "COPY --from=x / /\n")),
            (Texts{"[linux/amd64 x 1/2] FROM docker.io/library/a:latest", "[linux/amd64->arm64 x 2/2] RUN x",
                   "[linux/arm64 stage-1 1/2] FROM docker.io/library/b:latest",
                   "[linux/arm64 stage-1 2/2] COPY --from=x / /"}));
}

TEST_F(Stages, NumbersArePaddedAndVariablesShown) {
  std::string text = "FROM a\nENV V=1\nRUN echo $V $W \"$V\"\nworkdir /$V\n";
  for (int i = 0; i < 8; ++i) text += "RUN x\n";
  Texts names = Names(Do(text));
  EXPECT_EQ(names[0], "[ 1/11] FROM docker.io/library/a:latest");
  EXPECT_EQ(names[1], "[ 2/11] RUN echo 1 $W \"1\"");
  EXPECT_EQ(names[2], "[ 3/11] WORKDIR /1");
  EXPECT_EQ(names.back(), "[11/11] RUN x");
}

TEST_F(Stages, TriggersOfTheBaseImageRunFirstAndAreGone) {
  images.AddImage("docker.io/library/base:latest",
                  R"({"OnBuild": ["COPY --from=tools /t /t", "RUN $A/t", "ENV B=2"]})");
  Lowered lowered = Do("FROM base AS app\nRUN own\n");
  EXPECT_EQ(Names(lowered),
            (Texts{"[1/5] FROM docker.io/library/base:latest", "FROM docker.io/library/tools:latest",
                   "[2/5] ONBUILD COPY --from=tools /t /t", "[3/5] ONBUILD RUN $A/t", "[4/5] RUN own"}));
  EXPECT_EQ(ConfigText(lowered, "OnBuild"), "absent");
  EXPECT_EQ(History(lowered), (Texts{"COPY /t /t # buildkit", "RUN /bin/sh -c $A/t # buildkit", "-ENV B=2",
                                     "RUN /bin/sh -c own # buildkit"}));
  EXPECT_EQ(lowered.graph.steps.back().location.first_line, 2u);
  EXPECT_EQ(lowered.graph.steps[2].location.first_line, 1u) << "the FROM that brings the trigger";
}

TEST_F(Stages, TriggersOfAParentStageRunInItsChild) {
  Lowered lowered = Do("FROM a AS one\nONBUILD RUN trigger\nRUN 1\nFROM one AS two\nRUN 2\nFROM two\n");
  EXPECT_EQ(Names(lowered), (Texts{"[one 1/2] FROM docker.io/library/a:latest", "[one 2/2] RUN 1",
                                   "[two 1/2] ONBUILD RUN trigger", "[two 2/2] RUN 2"}));
  EXPECT_EQ(ConfigText(lowered, "OnBuild"), "absent");
  options.target = "one";
  EXPECT_EQ(ConfigText(Do("FROM a AS one\nONBUILD RUN trigger\n"), "OnBuild"), "[\"RUN trigger\"]");
}

TEST_F(Stages, TriggersWithHereDocumentsWork) {
  images.AddImage("docker.io/library/base:latest", R"({"OnBuild": ["RUN <<EOF\necho 1\nEOF\n"]})");
  EXPECT_EQ(Last<graph::Exec>(Do("FROM base\n")).args, (Texts{"/bin/sh", "-c", "echo 1\n"}));
}

TEST_F(Stages, NoCacheMarksTheStepsOfAStage) {
  const char* text = "FROM a AS one\nRUN 1\nFROM a AS two\nCOPY --from=one /x /\n";
  options.no_cache_filter = {"one"};
  Lowered lowered = Do(text);
  EXPECT_TRUE(lowered.graph.steps[1].no_cache);
  EXPECT_FALSE(lowered.graph.steps[2].no_cache);
  EXPECT_FALSE(lowered.no_cache);
  options.no_cache_filter.clear();
  options.no_cache = true;
  EXPECT_TRUE(Do(text).graph.steps[2].no_cache);
}

TEST_F(Stages, AllStagesCanBeCheckedWithoutATarget) {
  const char* text = "FROM a AS one\nCOPY $UNDEFINED /\nFROM b\n";
  Do(text);
  EXPECT_TRUE(warnings.empty());
  options.all_stages = true;
  Do(text);
  EXPECT_EQ(warnings.size(), 1u);
  EXPECT_EQ(Do(text).graph.steps.back().name.substr(0, 19), "[stage-1 1/1] FROM ");
}

class WindowsStages : public Stages {
 protected:
  WindowsStages() { options.target_platform = {.os = "windows", .architecture = "amd64"}; }
};

TEST_F(WindowsStages, ShellAndPathAreThoseOfTheSystem) {
  Lowered lowered = Do("FROM scratch\nENTRYPOINT foo bar\nRUN <<EOT\n#!/bin/x\necho\nEOT\n");
  EXPECT_EQ(lowered.config.entrypoint(), (std::vector<std::string>{"cmd", "/S", "/C", "foo bar"}));
  EXPECT_TRUE(lowered.config.env().empty());
  EXPECT_EQ(lowered.config.working_dir(), "\\");
  // There are no "#!" programs: it is the shell's to read.
  const auto& exec = std::get<graph::Exec>(lowered.graph.steps.back().op);
  EXPECT_EQ(exec.args, (std::vector<std::string>{"cmd", "/S", "/C", "#!/bin/x\necho\n"}));
}

TEST_F(WindowsStages, PathsMayHaveADriveAndBackslashes) {
  Lowered lowered =
      Do("# escape=`\nFROM scratch\nWORKDIR C:\\app\nWORKDIR sub\\deep\nCOPY d\\x y\\\nCOPY <<a c:/z\nEOF\na\n");
  EXPECT_EQ(lowered.config.working_dir(), "\\app\\sub\\deep");
  std::vector<std::string> made, copied;
  for (const graph::Step& step : lowered.graph.steps) {
    const auto* files = std::get_if<graph::FileOp>(&step.op);
    if (files == nullptr) continue;
    for (const graph::FileAction& action : files->actions) {
      if (const auto* directory = std::get_if<graph::MakeDirectory>(&action)) made.push_back(directory->path);
      if (const auto* copy = std::get_if<graph::Copy>(&action)) copied.push_back(copy->from.path + " " + copy->dest);
    }
  }
  EXPECT_EQ(made, (std::vector<std::string>{"/app", "/app/sub/deep"}));
  EXPECT_EQ(copied, (std::vector<std::string>{"d/x /app/sub/deep/y/", "a /z"}));
  EXPECT_TRUE(warnings.empty());  // "C:\app" is absolute
}

TEST_F(WindowsStages, WhatHasNoMeaningThereIsRefused) {
  EXPECT_EQ(Error("FROM scratch\nWORKDIR D:\\x\n"),
            "2: removing drive letter: The specified path is not on the system drive (C:)");
  EXPECT_EQ(Error("FROM scratch\nCOPY a C:\n"), "2: removing drive letter: No relative path specified in \"C:\"");
  EXPECT_EQ(Error("# escape=`\nFROM scratch\nCOPY a \\\\srv\\x\n"),
            "3: removing drive letter: UNC paths are not supported");
  EXPECT_EQ(Error("FROM scratch\nSTOPSIGNAL SIGTERM\n"),
            "2: The daemon on this platform does not support the command stopsignal");
}

TEST_F(WindowsStages, TheVersionOfTheSystemIsTheBaseImagesUnlessItIsAskedFor) {
  images.images["docker.io/library/nano:latest"] = FakeImages::Config(
      R"({"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.1006", "config": {}, "rootfs": {"type": "layers"}})");
  const char* text = "FROM nano\nARG TARGETPLATFORM TARGETOSVERSION\nLABEL p=$TARGETPLATFORM v=$TARGETOSVERSION\n";
  Lowered lowered = Do(text);
  EXPECT_EQ(lowered.config.platform().os_version, "10.0.20348.1006");
  EXPECT_EQ(lowered.config.GetLabel("p"), "windows/amd64");
  options.target_platform.os_version = "10.0.17763";
  lowered = Do(text);
  EXPECT_EQ(lowered.config.platform().os_version, "10.0.17763");
  EXPECT_EQ(lowered.config.GetLabel("p"), "windows(10.0.17763)/amd64");
  EXPECT_EQ(lowered.config.GetLabel("v"), "10.0.17763");
}

TEST_F(Stages, MembersThatDescribeTheBaseImageOnlyAreDropped) {
  oci::ImageConfig config = FakeImages::Config(R"({"architecture": "amd64", "os": "linux",
      "created": "2020-01-01T00:00:00Z", "author": "x", "moby.buildkit.cache.v0": "e30=",
      "container_config": {"Cmd": ["x"]}, "config": {"Hostname": "h", "Cmd": null, "Labels": {}},
      "rootfs": {"type": "layers", "diff_ids": [
        "sha256:1111111111111111111111111111111111111111111111111111111111111111"]}})");
  images.images["docker.io/library/old:latest"] = config;
  Lowered lowered = Do("FROM old\n");
  Json document = lowered.config.document();
  document.Erase("rootfs");
  EXPECT_EQ(document.DumpCanonical(),
            R"({"architecture":"amd64","author":"x","config":{"Env":["PATH=/usr/local/sbin:/usr/)"
            R"(local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},"os":"linux"})");
}

TEST_F(Stages, AnImageWithoutLayersIsScratch) {
  images.images["docker.io/library/empty:latest"] =
      FakeImages::Config(R"({"architecture": "amd64", "os": "linux", "config": {"User": "u"}})");
  Lowered lowered = Do("FROM empty\n");
  EXPECT_EQ(lowered.root, std::nullopt);
  EXPECT_EQ(ConfigText(lowered, "User"), "\"u\"");
}

class Config : public LowerTest {};

TEST_F(Config, CmdAndEntrypoint) {
  Lowered lowered = Do("FROM a\nCMD echo $X\n");
  EXPECT_EQ(ConfigText(lowered, "Cmd"), R"(["/bin/sh","-c","echo $X"])");
  EXPECT_EQ(ConfigText(lowered, "ArgsEscaped"), "true");
  EXPECT_EQ(History(lowered), Texts{"-CMD [\"/bin/sh\" \"-c\" \"echo $X\"]"});

  lowered = Do("FROM a\nENTRYPOINT [\"e\"]\n");
  EXPECT_EQ(ConfigText(lowered, "Cmd"), "absent") << "arguments for another entry point";
  EXPECT_EQ(ConfigText(Do("FROM a\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n"), "Cmd"), R"(["c"])");
  EXPECT_EQ(ConfigText(Do("FROM a AS x\nCMD [\"c\"]\nFROM x\nENTRYPOINT [\"e\"]\n"), "Cmd"), "absent");
  EXPECT_EQ(ConfigText(Do("FROM a AS x\nENTRYPOINT [\"e\"]\nFROM x\nENTRYPOINT []\n"), "Entrypoint"), "absent");
}

TEST_F(Config, ShellChangesWhatShellFormsMean) {
  Lowered lowered = Do("FROM a\nSHELL [\"bash\", \"-ec\"]\nRUN x\nCMD y\n");
  EXPECT_EQ(std::get<graph::Exec>(lowered.graph.steps[1].op).args, (Texts{"bash", "-ec", "x"}));
  EXPECT_EQ(ConfigText(lowered, "Cmd"), R"(["bash","-ec","y"])");
  EXPECT_EQ(History(lowered)[0], "-SHELL [bash -ec]");
  EXPECT_EQ(Warnings(), Texts{});
}

TEST_F(Config, WorkdirIsALayerOwnedByTheUser) {
  Lowered lowered = Do("FROM a\nUSER app:grp\nWORKDIR /srv\nWORKDIR a/../b\nWORKDIR /\n");
  EXPECT_EQ(ConfigText(lowered, "WorkingDir"), "\"/\"");
  EXPECT_EQ(History(lowered), (Texts{"-USER app:grp", "WORKDIR /srv", "WORKDIR /srv/b", "-WORKDIR /"}));
  const auto& op = Last<graph::FileOp>(lowered);
  const auto& make = std::get<graph::MakeDirectory>(op.actions.at(0));
  EXPECT_EQ(make.path, "/srv/b");
  EXPECT_EQ(make.owner.user, "app");
  EXPECT_EQ(make.owner.group, "grp");
  EXPECT_TRUE(make.make_parents);
}

TEST_F(Config, AnEmptyUserIsNoUser) {
  images.AddImage("docker.io/library/base:latest", R"({"User": "me"})");
  EXPECT_EQ(ConfigText(Do("FROM base\nARG U\nUSER $U\n"), "User"), "absent");
}

TEST_F(Config, WorkdirOfTheBaseImageIsWhereRunStarts) {
  images.AddImage("docker.io/library/base:latest", R"({"WorkingDir": "/app", "User": "me"})");
  Lowered lowered = Do("FROM base\nRUN x\nCOPY a .\n");
  const auto& exec = std::get<graph::Exec>(lowered.graph.steps[1].op);
  EXPECT_EQ(exec.cwd, "/app");
  EXPECT_EQ(exec.user, "me");
  EXPECT_EQ(std::get<graph::Copy>(Last<graph::FileOp>(lowered).actions[0]).dest, "/app/");
}

TEST_F(Config, ExposeSortsAndUnfoldsRanges) {
  Lowered lowered = Do("FROM a\nENV P=\"9000 443\"\nEXPOSE 8080-8081/udp 80 $P 127.0.0.1:1:1/TCP\n");
  EXPECT_EQ(ConfigText(lowered, "ExposedPorts"),
            R"({"1/tcp":{},"443/tcp":{},"80/tcp":{},"8080/udp":{},"8081/udp":{},"9000/tcp":{}})");
  EXPECT_EQ(History(lowered).back(), "-EXPOSE [9000/tcp 443/tcp 1/tcp 80/tcp 8080/udp 8081/udp]");
  EXPECT_EQ(Warnings().size(), 2u);
  EXPECT_EQ(Error("FROM a\nEXPOSE 80/icmp\n"), "2: invalid port: \"80/icmp\": invalid proto: icmp");
  EXPECT_EQ(Error("FROM a\nEXPOSE 90-80\n"), "2: invalid containerPort: 90-80");
  EXPECT_EQ(Error("FROM a\nEXPOSE 70000\n"), "2: invalid containerPort: 70000");
}

TEST_F(Config, HealthcheckAndTheRest) {
  Lowered lowered =
      Do("FROM a\nHEALTHCHECK --interval=1m30s --retries=3 CMD curl -f x\nVOLUME /a /b\nUSER 1:2\n"
         "STOPSIGNAL SIGRTMIN+3\nMAINTAINER Some One\nLABEL a=\"b c\" d=$PATH\n");
  EXPECT_EQ(ConfigText(lowered, "Healthcheck"),
            R"({"Interval":90000000000,"Retries":3,"Test":["CMD-SHELL","curl -f x"]})");
  EXPECT_EQ(ConfigText(lowered, "Volumes"), R"({"/a":{},"/b":{}})");
  EXPECT_EQ(ConfigText(lowered, "StopSignal"), "\"SIGRTMIN+3\"");
  EXPECT_EQ(lowered.config.author(), "Some One");
  EXPECT_EQ(lowered.config.GetLabel("a"), "b c");
  EXPECT_EQ(History(lowered), (Texts{"-HEALTHCHECK {Test:[CMD-SHELL curl -f x] Interval:1m30s Timeout:0s "
                                     "StartPeriod:0s StartInterval:0s Retries:3}",
                                     "-VOLUME [/a /b]", "-USER 1:2", "-STOPSIGNAL SIGRTMIN+3", "-MAINTAINER Some One",
                                     "-LABEL a=b c d=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}));
  EXPECT_EQ(ConfigText(Do("FROM a\nHEALTHCHECK NONE\n"), "Healthcheck"), R"({"Test":["NONE"]})");
}

TEST_F(Config, LabelsOfTheCommandLineComeLastAndAreNotInTheHistory) {
  options.labels = {{"a", "2"}, {"b", "3"}};
  Lowered lowered = Do("FROM a\nLABEL a=1\n");
  EXPECT_EQ(ConfigText(lowered, "Labels"), R"({"a":"2","b":"3"})");
  EXPECT_EQ(History(lowered), Texts{"-LABEL a=1"});
}

TEST_F(Config, HistoryOfTheConfigIsTheHistoryOfTheResult) {
  Lowered lowered = Do("FROM a\nRUN x\nENV A=1\n");
  auto history = lowered.config.history();
  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[1].created_by, "RUN /bin/sh -c x # buildkit");
  EXPECT_EQ(history[1].comment, "buildkit.dockerfile.v0");
  EXPECT_TRUE(history[2].empty_layer);
  EXPECT_EQ(history[2].created, std::nullopt);
}

TEST_F(Config, ChecksWithErrorFailTheBuildAndAreStillReported) {
  EXPECT_EQ(Error("# check=error=true\nFROM a\nMAINTAINER x\n"),
            "1: lint violation found for rules: MaintainerDeprecated");
  EXPECT_EQ(warnings.size(), 1u);
  options.build_args = {{"BUILDKIT_DOCKERFILE_CHECK", "skip=all"}};
  Do("# check=error=true\nFROM a\nMAINTAINER x\n");
  EXPECT_TRUE(warnings.empty());
}

}  // namespace
}  // namespace varve::dockerfile
