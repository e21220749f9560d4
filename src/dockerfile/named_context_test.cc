#include "dockerfile/named_context.h"

#include "dockerfile/lower_test.h"

namespace varve::dockerfile {
namespace {

class NamedContexts : public LowerTest {};

TEST_F(NamedContexts, ReplaceBaseImagesByWhateverSpelling) {
  options.named_contexts = {{"alpine", "docker-image://busybox"}};
  EXPECT_EQ(Names(Do("FROM docker.io/library/alpine:latest\nRUN x\n")),
            (Texts{"[context alpine] docker.io/library/busybox:latest", "[1/2] RUN x"}));
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/busybox:latest linux/amd64"});
  EXPECT_EQ(Names(Do("FROM alpine:3\n"))[0], "[1/1] FROM docker.io/library/alpine:3");
}

TEST_F(NamedContexts, ReplaceStagesWithoutLookingAtTheirInstructions) {
  options.named_contexts = {{"deps", "docker-image://d:1"}};
  Lowered lowered = Do("FROM gone AS deps\nCOPY --from=gone2 /x /\nRUN x\nFROM a\nCOPY --from=deps /y /\n");
  EXPECT_EQ(Names(lowered), (Texts{"[stage-1 1/2] FROM docker.io/library/a:latest",
                                   "[context deps] docker.io/library/d:1", "[stage-1 2/2] COPY --from=deps /y /"}));
  lowered = Do("FROM gone AS deps\nRUN x\nFROM deps\nRUN y\n");
  EXPECT_EQ(Names(lowered), (Texts{"[context deps] docker.io/library/d:1", "[stage-1 1/1] RUN y"}));
  EXPECT_EQ(lowered.base_history, 1u);
}

TEST_F(NamedContexts, LocalDirectoriesHaveTheirOwnIgnoreFile) {
  options.named_contexts = {{"src", "local:src-dir"}, {"docs", "../docs"}};
  options.ignore_patterns = [](const std::string& name) -> Result<std::vector<std::string>> {
    return std::vector<std::string>{"ignored-in-" + name};
  };
  Lowered lowered = Do("FROM a\nCOPY --from=src / /\nRUN --mount=from=docs,target=/d x\n");
  const auto& src = std::get<graph::LocalSource>(lowered.graph.steps[1].op);
  EXPECT_EQ(src.name, "src-dir");
  EXPECT_EQ(src.exclude, Texts{"ignored-in-src-dir"});
  EXPECT_EQ(lowered.graph.steps[1].name, "[context src] load from client");
  EXPECT_EQ(std::get<graph::LocalSource>(lowered.graph.steps[3].op).name, "docs");
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/a:latest linux/amd64"});
}

TEST_F(NamedContexts, FilesThatAStageIsBuiltOnAreCopiedAndOthersAreOnlyRead) {
  options.named_contexts = {{"src", "../src"}};
  for (const char* text : {"FROM src\nCOPY --from=a / /\n", "FROM src\nWORKDIR /w\n", "FROM src\nRUN x\n",
                           "FROM src\nCOPY --link --from=a / /\n", "FROM src AS s\nFROM s\nRUN x\n"}) {
    const Lowered lowered = Do(text);
    const Texts names = Names(lowered);
    const auto copy = std::ranges::find(names, "[internal] [context src] load from client");
    ASSERT_NE(copy, names.end()) << text;
    const graph::Ref files{static_cast<graph::StepIndex>(copy - names.begin()), 0};
    EXPECT_EQ(std::get<graph::FileOp>(lowered.graph.at(files).op).base, -1);
    const auto& users = lowered.graph.steps.back().inputs;
    EXPECT_NE(std::ranges::find(users, files), users.end()) << text;
  }
  EXPECT_EQ(Do("FROM src\n").root, (graph::Ref{1, 0}));
  EXPECT_EQ(Do("FROM src AS s\nFROM scratch\nCOPY --from=s /x /\n").graph.steps.size(), 2u);
}

TEST_F(NamedContexts, TheOneForThePlatformWins) {
  options.named_contexts = {
      {"b", "docker-image://any"}, {"b::linux/arm64", "docker-image://arm"}, {"b::linux/amd64", "docker-image://amd"}};
  Do("FROM b\n");
  EXPECT_EQ(images.asked(), Texts{"docker.io/library/amd:latest linux/amd64"});
}

TEST_F(NamedContexts, GitHttpAndLayouts) {
  std::string digest = "sha256:" + std::string(64, 'b');
  options.named_contexts = {{"g", "https://h.example/r.git#v1"},
                            {"h", "https://h.example/f"},
                            {"o", "oci-layout:///d/img:v2@" + digest},
                            {"s", "docker-image://scratch"}};
  Lowered lowered = Do("FROM o\nCOPY --from=g /a /\nCOPY --from=h /context /\nCOPY --from=s /n /\n");
  EXPECT_EQ(std::get<graph::GitSource>(lowered.graph.steps[1].op).ref, "v1");
  EXPECT_EQ(lowered.graph.steps[1].name, "[context g] load git source https://h.example/r.git#v1");
  EXPECT_EQ(std::get<graph::HttpSource>(lowered.graph.steps[3].op).filename, "context");
  const auto& layout = std::get<graph::OciLayoutSource>(lowered.graph.steps[0].op);
  EXPECT_EQ(layout.path, "/d/img");
  EXPECT_EQ(layout.reference, "v2");
  EXPECT_EQ(images.asked(), Texts{"layout /d/img:v2"});
  EXPECT_EQ(lowered.base_history, 1u);
}

TEST_F(NamedContexts, ResultsOfOtherBuildsAreTakenIn) {
  Lowered other = Do("FROM a\nENV K=1\nRUN lib\n");
  options.named_contexts = {{"lib", "target:lib"}};
  EXPECT_EQ(Error("FROM a\nCOPY --from=lib /x /\n"),
            "2: context lib is the result of \"lib\", which is not being built");
  options.inputs["lib"] = {&other.graph, other.root, other.config, other.history};
  Lowered lowered = Do("FROM a\nCOPY --from=lib /x /\n");
  EXPECT_EQ(Names(lowered),
            (Texts{"[1/2] FROM docker.io/library/a:latest", "[2/2] RUN lib", "[stage-0 2/2] COPY --from=lib /x /"}));
  lowered = Do("FROM lib\nRUN own\n");
  EXPECT_EQ(EnvOf(Last<graph::Exec>(lowered), "K"), "1");
  ASSERT_EQ(lowered.history.size(), 4u);
  EXPECT_EQ(lowered.graph.steps.at(*lowered.history[2].step).text, "RUN lib");
}

TEST_F(NamedContexts, ReservedNamesAreNotReplaced) {
  options.named_contexts = {{"scratch", "docker-image://x"}, {"context", "docker-image://y"}};
  EXPECT_EQ(Do("FROM scratch\n").root, std::nullopt);
  EXPECT_TRUE(images.asked().empty());
}

TEST_F(NamedContexts, BadValuesAreRefusedWhenUsed) {
  options.named_contexts = {{"x", "docker-image://Not Valid"}, {"y", ""}};
  Do("FROM a\n");
  EXPECT_TRUE(Error("FROM x\n").starts_with("1: context x: invalid image reference"));
  EXPECT_EQ(Error("FROM y\n"), "1: context y has no value");
}

}  // namespace
}  // namespace varve::dockerfile
