// Histories as builders recorded them: BuildKit's (docker 28.5, also varve's own form), the classic
// builder's, Buildah's of Debian 12 (1.28) with and without --layers, laid beside lowered
// Dockerfiles.
#include "previous/match_test.h"

#include <gmock/gmock.h>

#include "previous/file_result.h"

namespace varve::previous {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// --- One Dockerfile, every builder -----------------------------------------------------------------

constexpr const char* kFile = R"(FROM base
ARG VERSION=3
ENV FOO=bar
WORKDIR /app
COPY a.txt sub /app/
ADD a.txt /b.txt
RUN echo "$VERSION" > /v && \
    echo ok
USER nobody
EXPOSE 80
CMD ["sleep","1"]
)";

TEST_F(MatchTest, AnImageOfBuildKitAnswersAll) {
  oci::ImageConfig image = Image({
      {"ARG VERSION=3", kBuildKit, false},
      {"ENV FOO=bar", kBuildKit, false},
      {"WORKDIR /app", kBuildKit},
      {"COPY a.txt sub /app/ # buildkit", kBuildKit},
      {"ADD a.txt /b.txt # buildkit", kBuildKit},
      {"RUN |1 VERSION=3 /bin/sh -c echo \"$VERSION\" > /v &&     echo ok # buildkit", kBuildKit},
      {"USER nobody", kBuildKit, false},
      {"EXPOSE [80/tcp]", kBuildKit, false},
      {"CMD [\"sleep\" \"1\"]", kBuildKit, false},
  });
  contents.layers[Id("1")] = Index({{"app", Dir()}});
  contents.layers[Id("2")] = Index({{"app", Dir()}, {"app/a.txt", File("a\n")}, {"app/s.txt", File("s\n")}});
  contents.layers[Id("3")] = Index({{"b.txt", File("a\n")}});
  Outcome outcome = Match(kFile, image);
  EXPECT_EQ(outcome.stopped, "");
  EXPECT_THAT(Answers(outcome), ElementsAre("WORKDIR /app = 1 verified", "COPY a.txt sub /app/ = 2 verified",
                                            "ADD a.txt /b.txt = 3 verified", HasSubstr("= 4")));
  EXPECT_EQ(contents.pulled.size(), 3u) << "the layer of RUN is not needed";

  Outcome content = Match(kFile, image, Trust::kContent);
  EXPECT_EQ(content.answers.size(), 3u);
  EXPECT_THAT(content.stopped, HasSubstr("trust=history"));
}

// buildah bud --layers --build-arg VERSION=3
TEST_F(MatchTest, AnImageOfBuildahWithLayersAnswersAllButTheFolder) {
  oci::ImageConfig image = Image({
      {"/bin/sh -c #(nop) ARG VERSION", "FROM 127.0.0.1:5000/library/base:latest", false},
      {"/bin/sh -c #(nop) ENV FOO=bar", "FROM 5f152178068e", false},
      {"/bin/sh -c #(nop) WORKDIR /app", "FROM 2b643222cb9f", false},
      {"/bin/sh -c #(nop) COPY "
       "multi:81e7cb6be1cc7718c92790491d01c463367b2041f303ff66dba34788ece38063 in /app/ ",
       "FROM 382772e420fd"},
      {"/bin/sh -c #(nop) ADD "
       "file:c56e78b7828107cac7c3c5e2ad18282cadaf8c2ba959cb5d6ffa3907bc50b5cc in /b.txt ",
       "FROM 51f4e58e338f"},
      {"|1 VERSION=3 /bin/sh -c echo \"$VERSION\" > /v &&     echo ok", "FROM 67f1bc6fc3af"},
      {"/bin/sh -c #(nop) USER nobody", "FROM 6776d630fa9d", false},
      {"/bin/sh -c #(nop) CMD [\"sleep\",\"1\"]", "FROM 7f3c023bb2ab", false},
  });
  contents.layers[Id("1")] = Index({{"app", Dir()}, {"app/a.txt", File("a\n")}, {"app/s.txt", File("s\n")}});
  contents.layers[Id("2")] = Index({{"b.txt", File("a\n")}});
  Outcome outcome = Match(kFile, image);
  EXPECT_EQ(outcome.stopped, "");
  EXPECT_THAT(Answers(outcome),
              ElementsAre("COPY a.txt sub /app/ = 1 verified", "ADD a.txt /b.txt = 2 verified", HasSubstr("= 3")));
}

// buildah bud, one layer for everything
TEST_F(MatchTest, AnImageOfBuildahInOneLayerAnswersNothing) {
  oci::ImageConfig image = Image({
      {"/bin/sh -c #(nop) ARG VERSION", "", false},
      {"/bin/sh -c #(nop) ENV FOO=bar", "", false},
      {"/bin/sh -c #(nop) WORKDIR /app", "", false},
      {"/bin/sh -c #(nop) COPY multi:81e7cb in /app/ ", "", false},
      {"/bin/sh -c #(nop) ADD file:c56e78 in /b.txt ", "", false},
      {"|1 VERSION=3 /bin/sh -c echo \"$VERSION\" > /v &&     echo ok", "", false},
      {"/bin/sh -c #(nop) USER nobody", "", false},
      {"/bin/sh -c #(nop) EXPOSE 80", "", false},
      {"/bin/sh -c #(nop) CMD [\"sleep\",\"1\"]", "FROM 127.0.0.1:5000/library/base:latest"},
  });
  Outcome outcome = Match(kFile, image);
  EXPECT_THAT(outcome.answers, IsEmpty());
  EXPECT_THAT(outcome.stopped, HasSubstr("without a layer of its own"));
  EXPECT_THAT(contents.pulled, IsEmpty());
}

TEST_F(MatchTest, AnImageOfTheClassicBuilderAnswersAll) {
  oci::ImageConfig image = Image({
      {"/bin/sh -c #(nop)  ARG VERSION=3", "", false},
      {"/bin/sh -c #(nop)  ENV FOO=bar", "", false},
      {"/bin/sh -c #(nop) WORKDIR /app"},
      {"/bin/sh -c #(nop) COPY multi:3df4 in /app/ "},
      {"/bin/sh -c #(nop) ADD file:9a41 in /b.txt "},
      {"|1 VERSION=3 /bin/sh -c echo \"$VERSION\" > /v &&     echo ok"},
      {"/bin/sh -c #(nop)  USER nobody", "", false},
      {"/bin/sh -c #(nop)  EXPOSE 80", "", false},
      {"/bin/sh -c #(nop)  CMD [\"sleep\" \"1\"]", "", false},
  });
  contents.layers[Id("1")] = Index({{"app", Dir()}});
  contents.layers[Id("2")] = Index({{"app/a.txt", File("a\n")}, {"app/s.txt", File("s\n")}});
  contents.layers[Id("3")] = Index({{"b.txt", File("a\n")}});
  Outcome outcome = Match(kFile, image);
  EXPECT_EQ(outcome.stopped, "");
  EXPECT_EQ(outcome.answers.size(), 4u);
}

TEST_F(MatchTest, TheClassicBuildersEntriesAreReadWithTheShellOfTheFile) {
  oci::ImageConfig image = Image({
      {"/bin/ash -ec #(nop)  SHELL [/bin/ash -ec]", "", false},
      {"/bin/ash -ec #(nop) COPY file:9a41 in /b.txt "},
      {"/bin/ash -ec #(nop)  ENV FOO=bar", "", false},
      {"/bin/ash -ec echo"},
  });
  contents.layers[Id("1")] = Index({{"b.txt", File("a\n")}});
  Outcome outcome =
      Match("FROM base\nSHELL [\"/bin/ash\", \"-ec\"]\nCOPY a.txt /b.txt\nENV FOO=bar\nRUN echo\n", image);
  EXPECT_EQ(outcome.stopped, "");
  EXPECT_EQ(outcome.answers.size(), 2u);
}

// --- RUN -------------------------------------------------------------------------------------------

struct RunCase {
  const char* name;
  std::string file;                // after FROM base
  std::vector<Recorded> recorded;  // after the base image's
  size_t answers;
};
void PrintTo(const RunCase& run, std::ostream* out) { *out << run.name; }

class RunMatch : public MatchTest, public ::testing::WithParamInterface<RunCase> {};

TEST_P(RunMatch, ComparesWhatDecidesTheRun) {
  Outcome outcome = Match("FROM base\n" + GetParam().file, Image(GetParam().recorded));
  EXPECT_EQ(outcome.answers.size(), GetParam().answers) << outcome.stopped;
  EXPECT_EQ(outcome.stopped.empty(), outcome.answers.size() > 0);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, RunMatch,
    ::testing::Values(
        RunCase{"Same", "RUN make", {{"RUN /bin/sh -c make # buildkit", kBuildKit}}, 1},
        RunCase{"SameOfTheClassicBuilder", "RUN make", {{"/bin/sh -c make"}}, 1},
        RunCase{"OtherCommand", "RUN make", {{"RUN /bin/sh -c make x # buildkit", kBuildKit}}, 0},
        RunCase{
            "OtherShell", "SHELL [\"/bin/ash\",\"-c\"]\nRUN make", {{"RUN /bin/sh -c make # buildkit", kBuildKit}}, 0},
        RunCase{"SameShell",
                "SHELL [\"/bin/ash\",\"-c\"]\nRUN make",
                {{"SHELL [/bin/ash -c]", kBuildKit, false}, {"RUN /bin/ash -c make # buildkit", kBuildKit}},
                1},
        RunCase{"ShellOfTheClassicBuilder",
                "SHELL [\"/bin/ash\",\"-c\"]\nRUN make",
                {{"/bin/sh -c #(nop)  SHELL [/bin/ash -c]", "", false}, {"/bin/ash -c make"}},
                1},
        // Buildah writes /bin/sh whatever the shell is.
        RunCase{"ShellOfBuildahIsNotBelieved",
                "RUN make",
                {{"/bin/sh -c #(nop) SHELL [\"/bin/ash\",\"-c\"]", "", false}, {"/bin/sh -c make"}},
                0},
        RunCase{"OtherArgument",
                "ARG V=1\nRUN make",
                {{"ARG V=2", kBuildKit, false}, {"RUN |1 V=2 /bin/sh -c make # buildkit", kBuildKit}},
                0},
        RunCase{"ArgumentsInAnotherOrder", "ARG B=1\nARG A=2\nRUN make", {{"|2 A=2 B=1 /bin/sh -c make"}}, 1},
        RunCase{"ArgumentsWithBlanks",
                "ARG A=\"1 2\"\nARG B=3\nRUN make",
                {{"RUN |2 A=1 2 B=3 /bin/sh -c make # buildkit", kBuildKit}},
                1},
        RunCase{"ArgumentsWithBlanksAreNotSorted",
                "ARG A=\"1 B=2\"\nARG C=3\nRUN make",
                {{"|2 B=2 A=1 C=3 /bin/sh -c make"}},
                0},
        RunCase{"OtherEnv",
                "ENV A=1\nRUN make",
                {{"ENV A=2", kBuildKit, false}, {"RUN /bin/sh -c make # buildkit", kBuildKit}},
                0},
        RunCase{"EnvThatIsGone",
                "RUN make",
                {{"ENV A=2", kBuildKit, false}, {"RUN /bin/sh -c make # buildkit", kBuildKit}},
                0},
        RunCase{"OtherUser",
                "USER 1\nRUN make",
                {{"USER 2", kBuildKit, false}, {"RUN /bin/sh -c make # buildkit", kBuildKit}},
                0},
        RunCase{"LabelsDoNotMatter",
                "LABEL a=1\nRUN make",
                {{"LABEL a=2", kBuildKit, false},
                 {"EXPOSE [80/tcp]", kBuildKit, false},
                 {"RUN /bin/sh -c make # buildkit", kBuildKit}},
                1},
        RunCase{"EnvAfterItDoesNotMatter",
                "RUN make\nENV A=1",
                {{"RUN /bin/sh -c make # buildkit", kBuildKit}, {"ENV A=2", kBuildKit, false}},
                1},
        RunCase{"BoundFilesAreNotRecorded",
                "RUN --mount=type=bind,target=/src make",
                {{"RUN /bin/sh -c make # buildkit", kBuildKit}},
                0},
        RunCase{"ACacheMountIsNoInput",
                "RUN --mount=type=cache,target=/c make",
                {{"RUN /bin/sh -c make # buildkit", kBuildKit}},
                1},
        RunCase{"NothingIsThere", "RUN make", {{"CMD [\"x\"]", kBuildKit, false}}, 0},
        RunCase{"AnotherInstruction", "RUN make", {{"COPY a /a # buildkit", kBuildKit}}, 0}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(MatchTest, ARunIsAnsweredOnlyAfterItsParent) {
  oci::ImageConfig image =
      Image({{"COPY a.txt / # buildkit", kBuildKit}, {"RUN /bin/sh -c make # buildkit", kBuildKit}});
  contents.layers[Id("1")] = Index({{"a.txt", File("old\n")}});
  Outcome outcome = Match("FROM base\nCOPY a.txt /\nRUN make", image);
  EXPECT_THAT(outcome.answers, IsEmpty());
  EXPECT_EQ(outcome.stopped, "COPY a.txt /: /a.txt is not as in the image (content changed)");
}

TEST_F(MatchTest, WhatFollowsARunIsVerifiedOnTopOfIt) {
  oci::ImageConfig image =
      Image({{"RUN /bin/sh -c make # buildkit", kBuildKit}, {"COPY a.txt /out # buildkit", kBuildKit}});
  contents.layers[Id("1")] = Index({{"out", Dir(0700)}});
  contents.layers[Id("2")] = Index({{"out", Dir(0700)}, {"out/a.txt", File("a\n")}});
  Outcome outcome = Match("FROM base\nRUN make\nCOPY a.txt /out", image);
  EXPECT_EQ(outcome.answers.size(), 2u) << outcome.stopped;
}

// --- Files -----------------------------------------------------------------------------------------

struct CopyCase {
  const char* name;
  std::string instruction;
  std::vector<std::pair<std::string, Node>> layer;
  bool answered;
};
void PrintTo(const CopyCase& copy, std::ostream* out) { *out << copy.name; }

class CopyMatch : public MatchTest, public ::testing::WithParamInterface<CopyCase> {};

TEST_P(CopyMatch, ComparesTheTree) {
  contents.layers[Id("1")] = Index(GetParam().layer);
  for (Trust trust : {Trust::kContent, Trust::kHistory}) {
    Outcome outcome =
        Match("FROM base\n" + GetParam().instruction, Image({{"/bin/sh -c #(nop) COPY file:00 in / "}}), trust);
    EXPECT_EQ(!outcome.answers.empty(), GetParam().answered) << outcome.stopped;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, CopyMatch,
    ::testing::Values(
        CopyCase{"AFile", "COPY a.txt /x", {{"x", File("a\n")}}, true},
        CopyCase{"OtherBytes", "COPY a.txt /x", {{"x", File("b\n")}}, false},
        CopyCase{"OtherMode", "COPY a.txt /x", {{"x", File("a\n", 0755)}}, false},
        CopyCase{"OtherOwner", "COPY a.txt /x", {{"x", Owned(File("a\n"), 1, 0)}}, false},
        CopyCase{"OneMore", "COPY a.txt /x", {{"x", File("a\n")}, {"y", File("")}}, false},
        CopyCase{"OneLess", "COPY sub tool /x/", {{"x", Dir()}, {"x/s.txt", File("s\n")}}, false},
        CopyCase{"IntoAFolderThatIsThere", "COPY tool /bin", {{"bin", Dir()}, {"bin/tool", File("tool", 0755)}}, true},
        CopyCase{"ThroughALink", "COPY tool /link/", {{"bin", Dir()}, {"bin/tool", File("tool", 0755)}}, true},
        CopyCase{"AllOfTheContext",
                 "COPY . /c",
                 {{"c", Dir()},
                  {"c/a.tar.gz", File("a\n")},
                  {"c/a.txt", File("a\n")},
                  {"c/sub", Dir()},
                  {"c/sub/s.txt", File("s\n")},
                  {"c/tool", File("tool", 0755)}},
                 true},
        CopyCase{"Wildcards", "COPY *.txt /c/", {{"c", Dir()}, {"c/a.txt", File("a\n")}}, true},
        CopyCase{"ChmodAndChown",
                 "COPY --chmod=600 --chown=7:8 a.txt /n/x",
                 {{"n", Owned(Dir(0600), 7, 8)}, {"n/x", Owned(File("a\n", 0600), 7, 8)}},
                 true},
        CopyCase{"FoldersThatChmodMakes",
                 "COPY --chmod=777 a.txt /n/x",
                 {{"n", Dir(0777)}, {"n/x", File("a\n", 0777)}},
                 true},
        CopyCase{"ArchivesAreNotKnown", "ADD a.tar.gz /x", {{"x", File("a\n")}}, false},
        CopyCase{"Heredoc", "COPY <<EOF /x\nhi\nEOF", {{"x", File("hi\n")}}, true}),
    [](const auto& test) { return std::string(test.param.name); });

// The layer that a RUN made may be gigabytes.
TEST_F(MatchTest, NoLayerBelowIsPulledWhenTheLayerItselfTellsEnough) {
  oci::ImageConfig image =
      Image({{"RUN /bin/sh -c make # buildkit", kBuildKit}, {"COPY a.txt /app/ # buildkit", kBuildKit}});
  contents.layers[Id("2")] = Index({{"app", Dir(0700)}, {"app/a.txt", File("a\n")}});
  Outcome outcome = Match("FROM base\nRUN make\nCOPY a.txt /app/", image);
  EXPECT_EQ(outcome.answers.size(), 2u) << outcome.stopped;
  EXPECT_THAT(contents.pulled, ElementsAre(Id("2")));
  EXPECT_EQ(contents.base_trees, 0);
  contents.layers[Id("2")] = Index({{"app", Dir(0700)}, {"app/a.txt", File("b\n")}});
  outcome = Match("FROM base\nRUN make\nCOPY a.txt /app/", image);
  EXPECT_EQ(outcome.answers.size(), 1u);
  EXPECT_EQ(outcome.stopped, "COPY a.txt /app/: /app/a.txt is not as in the image (content changed)");
  EXPECT_EQ(contents.base_trees, 0);
}

TEST_F(MatchTest, WhereADestinationLeadsIsLookedUpBelow) {
  oci::ImageConfig image = Image({{"COPY tool /link/ # buildkit", kBuildKit}});
  contents.layers[Id("1")] = Index({{"bin", Dir()}, {"bin/tool", File("tool", 0755)}});
  EXPECT_EQ(Match("FROM base\nCOPY tool /link/", image).answers.size(), 1u);
  EXPECT_EQ(contents.base_trees, 1);
}

TEST_F(MatchTest, AFolderThatNothingAskedForIsADifference) {
  oci::ImageConfig image = Image({{"COPY a.txt /x # buildkit", kBuildKit}});
  contents.layers[Id("1")] = Index({{"evil", Dir(0777)}, {"x", File("a\n")}});
  EXPECT_THAT(Match("FROM base\nCOPY a.txt /x", image).answers, IsEmpty());
}

TEST_F(MatchTest, AFileThatTheLayerRemovesIsADifference) {
  oci::ImageConfig image = Image({{"COPY a.txt /x # buildkit", kBuildKit}});
  contents.layers[Id("1")] = Index({{"x", File("a\n")}});
  contents.layers[Id("1")].insert(contents.layers[Id("1")].begin(), {.path = RelPath("bin/sh"), .whiteout = true});
  EXPECT_THAT(Match("FROM base\nCOPY a.txt /x", image).answers, IsEmpty());
}

TEST_F(MatchTest, AFolderThatWasThereHasAnEmptyLayer) {
  oci::ImageConfig image = Image({{"WORKDIR /bin", kBuildKit}, {"RUN /bin/sh -c x # buildkit", kBuildKit}});
  contents.layers[Id("1")] = {};
  EXPECT_EQ(Match("FROM base\nWORKDIR /bin\nRUN x", image).answers.size(), 2u);
}

TEST_F(MatchTest, NothingIsPulledForStepsThatNobodyWants) {
  oci::ImageConfig image =
      Image({{"COPY a.txt / # buildkit", kBuildKit}, {"RUN /bin/sh -c make # buildkit", kBuildKit}});
  lowered_ = Do("FROM base\nCOPY a.txt /\nRUN make changed");
  const graph::StepIndex run = lowered_.root->step;
  wanted = [&](graph::StepIndex step) { return step == run; };
  auto outcome = MatchImage(image, PlannedOf(lowered_, lowered_.graph)[0], Trust::kHistory, wanted, contents);
  ASSERT_TRUE(outcome);
  EXPECT_THAT(outcome->answers, IsEmpty());
  EXPECT_THAT(outcome->stopped, HasSubstr("the image ran"));
  EXPECT_THAT(contents.pulled, IsEmpty());
}

TEST_F(MatchTest, ALayerThatIsGoneEndsItThere) {
  oci::ImageConfig image =
      Image({{"RUN /bin/sh -c make # buildkit", kBuildKit}, {"COPY a.txt /x # buildkit", kBuildKit}});
  contents.gone = true;
  Outcome outcome = Match("FROM base\nRUN make\nCOPY a.txt /x", image);
  EXPECT_EQ(outcome.answers.size(), 1u);
  EXPECT_THAT(outcome.stopped, HasSubstr("is gone"));
}

// Which number a name is, only the files below tell; the layer says what it was.
TEST_F(MatchTest, AnOwnerThatIsNamedIsTheLayersUnderHistory) {
  oci::ImageConfig image = Image({{"COPY --chown=www a.txt tool /x/ # buildkit", kBuildKit}});
  const std::string file = "FROM base\nCOPY --chown=www a.txt tool /x/";
  auto layer = [&](uint32_t first, uint32_t second) {
    contents.layers[Id("1")] = Index({{"x", Owned(Dir(), first, 9)},
                                      {"x/a.txt", Owned(File("a\n"), first, 9)},
                                      {"x/tool", Owned(File("tool", 0755), second, 9)}});
  };
  layer(33, 33);
  EXPECT_EQ(Match(file, image).answers.size(), 1u);
  EXPECT_THAT(Match(file, image, Trust::kContent).stopped, HasSubstr("--chown has names"));
  layer(33, 34);
  EXPECT_THAT(Match(file, image).answers, IsEmpty());
}

TEST_F(MatchTest, AnImageOfAStageAnswersThatStage) {
  contents.layers[Id("1")] = Index({{"a.txt", File("a\n")}});
  lowered_ =
      Do("FROM base AS build\nCOPY a.txt /\nRUN make\nFROM build AS unused\nRUN no\n"
         "FROM base\nCOPY --from=build /out /out");
  auto planned = PlannedOf(lowered_, lowered_.graph);
  ASSERT_EQ(planned.size(), 2u);
  oci::ImageConfig image =
      Image({{"COPY a.txt / # buildkit", kBuildKit}, {"RUN /bin/sh -c make # buildkit", kBuildKit}});
  auto outcome = MatchImage(image, planned[1], Trust::kHistory, wanted, contents);
  ASSERT_TRUE(outcome);
  EXPECT_THAT(Answers(*outcome), ElementsAre("COPY a.txt / = 1 verified", HasSubstr("RUN make = 2")));
}

TEST_F(MatchTest, AStageThatTheTargetBuildsOnIsAPartOfIt) {
  lowered_ = Do("FROM base AS one\nRUN make\nFROM one\nRUN test");
  EXPECT_EQ(PlannedOf(lowered_, lowered_.graph).size(), 1u);
}

TEST_F(MatchTest, AnInputThatIsNotKnownYetIsNoAnswer) {
  contents.context = {};
  Outcome outcome = Match("FROM base\nCOPY a.txt /x", Image({{"COPY a.txt /x # buildkit", kBuildKit}}));
  EXPECT_THAT(outcome.stopped, HasSubstr("not known yet"));
  EXPECT_THAT(contents.pulled, IsEmpty());
}

TEST_F(MatchTest, ASourceThatIsMissingIsLeftToTheBuildToReport) {
  Outcome outcome = Match("FROM base\nCOPY nothing /x", Image({{"COPY nothing /x # buildkit", kBuildKit}}));
  EXPECT_THAT(outcome.answers, IsEmpty());
  EXPECT_THAT(outcome.stopped, HasSubstr("not found"));
}

TEST_F(MatchTest, ALayerThatCannotBeReadIsAnError) {
  lowered_ = Do("FROM base\nCOPY a.txt /x");
  auto outcome = MatchImage(Image({{"COPY a.txt /x # buildkit", kBuildKit}}), PlannedOf(lowered_, lowered_.graph)[0],
                            Trust::kContent, wanted, contents);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kUnavailable);
}

TEST_F(MatchTest, NoCacheIsNoAnswer) {
  options.no_cache = true;
  EXPECT_THAT(Match("FROM base\nRUN make", Image({{"/bin/sh -c make"}})).answers, IsEmpty());
}

// --- The base --------------------------------------------------------------------------------------

TEST_F(MatchTest, AnotherBaseAnswersNothing) {
  oci::ImageConfig image = Image({{"/bin/sh -c make"}});
  std::vector<DiffId> layers = image.diff_ids();
  layers[0] = Id("another");
  image.set_diff_ids(layers);
  Outcome outcome = Match("FROM base\nRUN make", image);
  EXPECT_THAT(outcome.answers, IsEmpty());
  EXPECT_EQ(outcome.stopped, "it has another base image");
}

TEST_F(MatchTest, AHistoryThatDoesNotDescribeTheLayersAnswersNothing) {
  oci::ImageConfig image = Image({{"/bin/sh -c make"}});
  std::vector<DiffId> layers = image.diff_ids();
  layers.push_back(Id("squashed"));
  image.set_diff_ids(layers);
  EXPECT_EQ(Match("FROM base\nRUN make", image).stopped, "its history does not describe its layers");
  oci::ImageConfig none = Image({});
  none.set_history({});
  EXPECT_NE(Match("FROM base\nRUN make", none).stopped, "");
}

TEST_F(MatchTest, ScratchIsABaseToo) {
  oci::ImageConfig image = oci::ImageConfig::Scratch(options.target_platform);
  image.set_history({{.created_by = "COPY a.txt /x # buildkit", .comment = kBuildKit}});
  image.set_diff_ids({Id("1")});
  contents.layers[Id("1")] = Index({{"x", File("a\n")}});
  Outcome outcome = Match("FROM scratch\nCOPY a.txt /x", image);
  ASSERT_EQ(outcome.answers.size(), 1u) << outcome.stopped;
  EXPECT_EQ(outcome.answers[0].layers, 1u);
}

TEST_F(MatchTest, WhatHasNothingInCommonNeedNotBeAskedAgain) {
  wanted = [](graph::StepIndex) { return false; };
  EXPECT_TRUE(Match("FROM base\nRUN make", Image({{"/bin/sh -c test"}})).unlike);
  EXPECT_FALSE(Match("FROM base\nRUN make", Image({{"/bin/sh -c make"}})).unlike);
}

TEST_F(MatchTest, AnotherPlatformAnswersNothing) {
  oci::ImageConfig image = oci::ImageConfig::Scratch({.os = "linux", .architecture = "arm64"});
  image.set_history({{.created_by = "COPY a.txt /x # buildkit", .comment = kBuildKit}});
  image.set_diff_ids({Id("1")});
  EXPECT_THAT(Match("FROM scratch\nCOPY a.txt /x", image).stopped, HasSubstr("linux/arm64"));
}

TEST_F(MatchTest, OnlyTheWantedStageIsAnswered) {
  contents.layers[Id("1")] = Index({{"x", File("a\n")}});
  Outcome outcome = Match("FROM base AS build\nRUN make\nFROM base\nCOPY --from=build /a.txt /x",
                          Image({{"COPY /a.txt /x # buildkit", kBuildKit}}));
  EXPECT_THAT(Answers(outcome), ElementsAre(HasSubstr("COPY --from=build /a.txt /x = 1 verified")));
}

}  // namespace
}  // namespace varve::previous
