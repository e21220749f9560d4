// Statements byte by byte. VARVE_ACCEPT=1 rewrites the files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "attest/provenance.h"
#include "attest/request.h"
#include "attest/statement.h"
#include "base/fd.h"
#include "base/strings.h"

namespace varve::attest {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What the machine of the test is shall not be in a golden file.
std::string Portable(std::string text) {
  return ReplaceAll(std::move(text), "\"" + oci::HostPlatform().ToString() + "\"", "\"HOST\"");
}

void ExpectGolden(const std::string& name, const std::string& text) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/attest/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << "run once with VARVE_ACCEPT=1";
  EXPECT_EQ(text, *golden);
}

class Provenance : public ::testing::Test {
 protected:
  Provenance() {
    auto add = [&](graph::Op op, std::vector<graph::Ref> inputs, const char* name, uint32_t line) {
      graph::Step step{.op = std::move(op), .inputs = std::move(inputs), .platform = {"linux", "amd64"}, .name = name};
      step.location = {"Dockerfile", line, line};
      return graph::Ref{graph.Add(std::move(step)), 0};
    };
    std::string pinned = "docker.io/library/alpine:3@" + Digest::Of("alpine").ToString();
    graph::Ref image = add(graph::ImageSource{.reference = pinned}, {}, "image", 1);
    graph::Ref local = add(graph::LocalSource{.name = "context", .exclude = {"*.o"}}, {}, "context", 0);
    graph::Ref git = add(graph::GitSource{.remote = "https://user:word@example.com/r.git", .ref = "v1"}, {}, "git", 2);
    graph::Ref http = add(graph::HttpSource{.url = "https://example.com/f", .filename = "f"}, {}, "http", 3);
    graph::FileOp files{.base = 0};
    files.actions = {
        graph::Copy{.input = 1, .from = {.path = "src"}, .dest = "/src/", .owner = {"node", "7"}, .mode = "755"},
        graph::Copy{.input = 2, .from = {.path = ""}, .dest = "/git"},
        graph::Copy{.input = 3, .from = {.path = "f"}, .dest = "/f"}, graph::MakeFile{.path = "/t", .data = "text"},
        graph::Remove{.path = "/x"}};
    graph::Ref copied = add(files, {image, local, git, http}, "files", 4);
    graph::Exec exec{.args = {"/bin/sh", "-c", "make"}, .env = {"PATH=/bin"}, .user = "node"};
    exec.mounts = {graph::Mount{.target = "/", .input = 0, .output = 0},
                   graph::Mount{.type = graph::MountType::kSecret,
                                .target = "/run/secrets/token",
                                .readonly = true,
                                .secret_id = "token",
                                .required = true,
                                .mode = 0400},
                   graph::Mount{.type = graph::MountType::kSsh, .target = "/ssh", .secret_id = "default"},
                   graph::Mount{.type = graph::MountType::kCache, .target = "/c", .cache_id = "c"}};
    root = add(exec, {copied}, "run", 5);
    pins = {{git.step, "sha1:" + std::string(40, 'a')}, {http.step, Digest::Of("f").ToString()}};
    // Nothing of it is needed, so nothing of it is told.
    add(graph::ImageSource{.reference = "docker.io/library/unused:1@" + Digest::Of("unused").ToString()}, {}, "unused",
        9);
  }

  BuildFacts Facts() {
    return {.graph = graph,
            .root = root,
            .pins = pins,
            .asked = {.frontend = "dockerfile.v0",
                      .args = {{"target", "app"},
                               {"build-arg:VERSION", "1.2"},
                               {"label:a", "b"},
                               {"no-cache", ""},
                               {"filename", "Dockerfile"},
                               {"vcs:source", "https://u:p@example.com/repo"},
                               {"vcs:revision", "abc"},
                               {"attest:sbom", ""},
                               {"platform", "linux/amd64"}}},
            .invocation_id = "id",
            .started = *ParseTime("2024-01-02T03:04:05.5Z"),
            .finished = *ParseTime("2024-01-02T03:05:06Z"),
            .sources = {{"Dockerfile", "FROM alpine\n"}},
            .digest_of = [](graph::StepIndex step) { return step == 5 ? Digest::Of("run") : Digest(); }};
  }
  std::string Text(const ProvenanceRequest& request) {
    auto made = MakeProvenance(request, Facts());
    EXPECT_TRUE(made) << made.error().ToString();
    AddLayers({{.media_type = std::string(oci::kOciLayerGzip), .digest = Digest::Of("layer"), .size = 7}}, &*made);
    return Portable(StatementText(*made, {{"pkg:docker/app@1?platform=linux%2Famd64", Digest::Of("manifest")}}, true)) +
           "\n";
  }

  graph::Graph graph;
  std::optional<graph::Ref> root;
  SourcePins pins;
};

TEST_F(Provenance, OfVersionOneInFull) {
  ExpectGolden("provenance-v1-max.json", Text({.builder_id = "https://ci.example/1"}));
}
TEST_F(Provenance, OfVersionOneInShort) { ExpectGolden("provenance-v1-min.json", Text({.max = false})); }
TEST_F(Provenance, OfVersionZeroTwoInFull) {
  ExpectGolden("provenance-v02-max.json", Text({.reproducible = true, .v1 = false}));
}
TEST_F(Provenance, OfVersionZeroTwoInShort) {
  ExpectGolden("provenance-v02-min.json", Text({.max = false, .v1 = false}));
}

TEST_F(Provenance, TheShortOneHasNoValueThatSomebodyPassed) {
  std::string text = Text({.max = false});
  EXPECT_THAT(text, Not(HasSubstr("1.2")));
  EXPECT_THAT(text, Not(HasSubstr("token")));
  EXPECT_THAT(text, HasSubstr("\"request\": false"));
}

TEST_F(Provenance, ABundleIsToldBesideTheRepositoryThatItStandsFor) {
  graph::Graph with_bundle;
  with_bundle.Add({.op = graph::GitSource{
                       .remote = "https://example.com/r.git",
                       .ref = "v1",
                       .bundle = graph::BlobSource{
                           .repository = "docker.io/not/real", .digest = Digest::Of("bundle"), .layout = true}}});
  const SourcePins at = {{0, "sha1:" + std::string(40, 'a')}};
  BuildFacts facts = Facts();
  facts.besides.push_back({with_bundle, graph::Ref{0, 0}, at});
  const std::string text = MakeProvenance({.max = false}, facts)->predicate.Dump();
  const std::string place = "pkg:oci/not/real@latest?ref_type=bundle&vcs_url=https:%2F%2Fexample.com%2Fr.git%23v1";
  EXPECT_THAT(text, HasSubstr(R"({"uri":")" + place + R"(","digest":{"sha256":")" + Digest::Of("bundle").Hex()));
}

TEST_F(Provenance, WhatTheFrontEndReadOnTheWayIsTold) {
  graph::Graph other;
  other.Add({.op = graph::LocalSource{.name = "dockerfile"}});
  const SourcePins none;
  BuildFacts facts = Facts();
  facts.besides.push_back({other, graph::Ref{0, 0}, none});
  facts.locals = {"assets"};
  facts.environment = Json().Set("region", "north");
  facts.frontend_version = "1.9";
  const std::string text = MakeProvenance({.max = false}, facts)->predicate.Dump();
  EXPECT_THAT(text, HasSubstr(R"("locals":[{"name":"assets"},{"name":"context"},{"name":"dockerfile"}])"));
  EXPECT_THAT(text, HasSubstr(R"("internalParameters":{"region":"north","dockerfileVersion":"1.9")"));
}

TEST_F(Provenance, MaterialsOfAKindAreInTheOrderOfTheirNames) {
  graph::Graph used;
  for (const char* name : {"docker.io/library/z:1", "docker.io/a/front-end:1"}) {
    used.Add({.op = graph::ImageSource{.reference = name}, .platform = {"linux", "amd64"}});
  }
  used.Add({.op = graph::Merge{}, .inputs = {{0, 0}, {1, 0}}});
  BuildFacts facts{.graph = used, .root = graph::Ref{2, 0}, .invocation_id = "id", .started = {}, .finished = {}};
  const std::string text = MakeProvenance({.max = false}, facts)->predicate.Dump();
  EXPECT_LT(text.find("pkg:docker/a/front-end@1"), text.find("pkg:docker/z@1"));
}

TEST_F(Provenance, AnOciLayoutHasTheNameOfItsContext) {
  graph::Graph used;
  used.Add(
      {.op = graph::OciLayoutSource{.path = "store", .digest = Digest::Of("layout"), .name = "docker.io/library/base"},
       .platform = {"linux", "amd64"}});
  const SourcePins none;
  BuildFacts facts = Facts();
  facts.besides.push_back({used, graph::Ref{0, 0}, none});
  auto made = MakeProvenance({}, facts);
  ASSERT_TRUE(made);
  EXPECT_THAT(made->predicate.Dump(),
              testing::HasSubstr(
                  fmt::format(R"({{"uri":"pkg:oci/base?digest={}&platform=linux%2Famd64","digest":{{"sha256":"{}"}}}})",
                              Digest::Of("layout").ToString(), Digest::Of("layout").Hex())));
}

TEST_F(Provenance, HowInputsAndTheClientsFrontEndWereAskedIsTold) {
  const Invocation inner{.frontend = "dockerfile.v0", .args = {{"target", "seed"}}};
  const Invocation input{
      .frontend = "dockerfile.v0",
      .args = {{"target", "base"}, {"build-arg:TEXT", "value"}, {"filename", "a.Dockerfile"}, {"platform", "p"}},
      .inputs = {{"seed", inner}}};
  BuildFacts facts = Facts();
  facts.asked.args = {{"context", "https://u:p@example.com/r.git"}, {"context:linked", "input:base"}};
  facts.asked.context_digest = {"sha1", "abc"};
  facts.asked.inputs = {{"base", input}};
  facts.client =
      Invocation{.args = {{"context", "https://u:p@example.com/r.git"}, {"label:a", "b"}, {"attest:sbom", ""}}};
  auto request_of = [&](bool max) {
    return MakeProvenance({.max = max}, facts)
        ->predicate.Find("buildDefinition")
        ->Find("externalParameters")
        ->Find("request")
        ->Dump();
  };
  EXPECT_THAT(
      request_of(true),
      HasSubstr(
          R"("inputs":{"base":{"configSource":{"path":"a.Dockerfile"},"request":{"frontend":"dockerfile.v0",)"
          R"("args":{"build-arg:TEXT":"value","target":"base"},)"
          R"("inputs":{"seed":{"configSource":{},"request":{"frontend":"dockerfile.v0","args":{"target":"seed"}}}}}}})"));
  EXPECT_THAT(
      request_of(true),
      HasSubstr(
          R"("root":{"configSource":{"uri":"https://xxxxx:xxxxx@example.com/r.git","digest":{"sha1":"abc"}},"request":{"args":{"label:a":"b"}}}})"));
  EXPECT_THAT(request_of(false), Not(HasSubstr("TEXT")));
  EXPECT_THAT(MakeProvenance({.max = false}, facts)->predicate.Dump(),
              HasSubstr(R"("buildkit_completeness":{"request":false)"));
  // A client that hands on what it was asked, or was asked nothing, is not told of.
  facts.client = facts.asked;
  EXPECT_THAT(request_of(true), Not(HasSubstr("\"root\"")));
  facts.client = Invocation{.args = {{"attest:provenance", "mode=max"}}};
  EXPECT_THAT(request_of(true), Not(HasSubstr("\"root\"")));
}

TEST_F(Provenance, AGraphWithoutAFrontEndIsNoCompleteRequest) {
  BuildFacts facts = Facts();
  facts.asked = {};
  const std::string text = MakeProvenance({}, facts)->predicate.Dump();
  EXPECT_THAT(text, Not(HasSubstr("\"frontend\"")));
  EXPECT_THAT(text, HasSubstr(R"("buildkit_completeness":{"request":false)"));
}

// Of the layers of the image, those that each step ended with; a step whose layers are not the image's first has none.
TEST_F(Provenance, LayersAreThoseOfEachStep) {
  auto layer = [](const char* name) { return DiffId(Digest::Of(name)); };
  BuildFacts facts = Facts();
  facts.layers_of = [&](const graph::Ref& ref) -> std::vector<DiffId> {
    if (ref.step == 0) return {layer("a")};
    if (ref.step == 1) return {layer("other")};
    if (ref.step == 4) return {layer("a"), layer("b")};
    return ref.step == 5 ? std::vector{layer("a"), layer("b"), layer("c")} : std::vector<DiffId>();
  };
  auto made = MakeProvenance({}, facts);
  ASSERT_TRUE(made);
  std::map<std::string, size_t> expected = {{"step0:0", 1}, {"step4:0", 2}, {"step5:0", 3}};
  EXPECT_EQ(made->layers, expected);
  std::vector<oci::Descriptor> packed;
  for (const char* name : {"A", "B", "C"}) packed.push_back({.digest = Digest::Of(name), .size = 1});
  AddLayers(packed, &*made);
  const Json& layers = *made->predicate.Find("runDetails")->Find("metadata")->Find("buildkit_metadata")->Find("layers");
  EXPECT_EQ(layers.GetArray("step4:0")[0].as_array().size(), 2u);
  // Squashed, only the result's are known.
  auto squashed = *MakeProvenance({}, facts);
  AddLayers({packed[0]}, &squashed);
  const Json& one = *squashed.predicate.Find("runDetails")->Find("metadata")->Find("buildkit_metadata")->Find("layers");
  EXPECT_EQ(one.as_object().size(), 1u);
  EXPECT_EQ(one.GetArray("step5:0")[0].as_array().size(), 1u);
}

TEST_F(Provenance, NoPasswordOfAUrlIsTold) {
  for (bool max : {true, false}) {
    std::string text = Text({.max = max});
    EXPECT_THAT(text, HasSubstr("https://xxxxx:xxxxx@example.com/r.git#v1"));
    EXPECT_THAT(text, HasSubstr("https://xxxxx:xxxxx@example.com/repo"));
    EXPECT_THAT(text, Not(HasSubstr("word")));
  }
}

TEST_F(Provenance, WithPinnedSourcesAndNoNetworkItIsHermetic) {
  graph::Graph small;
  small.Add({.op = graph::ImageSource{.reference = "docker.io/library/alpine:3"}, .platform = {"linux", "amd64"}});
  graph::Exec exec{.args = {"true"},
                   .mounts = {graph::Mount{.target = "/", .input = 0, .output = 0}},
                   .network = graph::NetworkMode::kNone};
  small.Add({.op = exec, .inputs = {{0, 0}}});
  BuildFacts facts{.graph = small, .root = graph::Ref{1, 0}, .invocation_id = "id", .started = {}, .finished = {}};
  auto made = MakeProvenance({.max = false}, facts);
  ASSERT_TRUE(made);
  EXPECT_THAT(made->predicate.Dump(), HasSubstr(R"("buildkit_hermetic":true)"));
  std::get<graph::Exec>(small.steps[1].op).network = graph::NetworkMode::kDefault;
  EXPECT_THAT(MakeProvenance({.max = false}, facts)->predicate.Dump(), Not(HasSubstr("hermetic")));
}

TEST(Statement, IsOneLineWithGoEscapes) {
  Attestation sbom{
      .predicate_type = std::string(kSpdx), .predicate = Json().Set("name", "<a>"), .file = "sbom.spdx.json"};
  EXPECT_EQ(
      StatementText(sbom, {{"n", Digest::Of("x")}}, false),
      R"({"_type":"https://in-toto.io/Statement/v1","predicateType":"https://spdx.dev/Document","subject":[{"name":"n","digest":{"sha256":")" +
          Digest::Of("x").Hex() + R"("}}],"predicate":{"name":"\u003ca\u003e"}})");
}

// util/purl/image_test.go has these.
TEST(PackageUrl, IsBuildKits) {
  std::string digest = Digest::Of("x").ToString();
  EXPECT_EQ(*PackageUrl("docker", "alpine", {}), "pkg:docker/alpine@latest");
  EXPECT_EQ(*PackageUrl("docker", "alpine:3.15", {}), "pkg:docker/alpine@3.15");
  EXPECT_EQ(*PackageUrl("docker", "alpine:latest@" + digest, {}), "pkg:docker/alpine@latest?digest=" + digest);
  EXPECT_EQ(*PackageUrl("docker", "alpine@" + digest, {}), "pkg:docker/alpine?digest=" + digest);
  EXPECT_EQ(*PackageUrl("docker", "ghcr.io/foo/bar", {}), "pkg:docker/ghcr.io/foo/bar@latest");
  EXPECT_EQ(*PackageUrl("docker", "busybox@" + digest, oci::Platform{"linux", "arm64"}),
            "pkg:docker/busybox?digest=" + digest + "&platform=linux%2Farm64");
  EXPECT_EQ(*PackageUrl("docker", "localhost:5000/a", {}), "pkg:docker/localhost%3A5000/a@latest");
  EXPECT_EQ(*PackageUrl("oci", "not/real", {}, {{"ref_type", "bundle"}, {"vcs_url", "https://h/.git#v1"}}),
            "pkg:oci/not/real@latest?ref_type=bundle&vcs_url=https:%2F%2Fh%2F.git%23v1");
}

TEST(Request, IsReadFromFlagsAndBuildArguments) {
  auto request = ParseRequest(
      {"type=provenance,mode=min,builder-id=b,version=v0.2,inline-only=true", "type=sbom,generator=x,K=v"}, {});
  ASSERT_TRUE(request) << request.error().ToString();
  EXPECT_FALSE(request->provenance->max);
  EXPECT_FALSE(request->provenance->v1);
  EXPECT_TRUE(request->provenance->inline_only);
  EXPECT_EQ(request->provenance->builder_id, "b");
  EXPECT_EQ(request->sbom->generator, "x");
  EXPECT_EQ(request->sbom->parameters.at("k"), "v");
  request = ParseRequest({"type=provenance,disabled=true"},
                         {{"BUILDKIT_ATTEST_PROVENANCE", "mode=max"}, {"BUILDKIT_ATTEST_SBOM", ""}});
  ASSERT_TRUE(request);
  EXPECT_FALSE(request->provenance);
  EXPECT_EQ(request->sbom->generator, kDefaultScanner);
  EXPECT_FALSE(ParseRequest({}, {})->Any());
}

TEST(Request, ShortFormsMeanWhatBuildxMakesOfThem) {
  EXPECT_EQ(AttestText("provenance", "true"), "type=provenance");
  EXPECT_EQ(AttestText("provenance", "false"), "type=provenance,disabled=true");
  EXPECT_EQ(AttestText("provenance", "max"), "type=provenance,mode=max");
  EXPECT_EQ(AttestText("provenance", "mode=min,version=v0.2"), "type=provenance,mode=min,version=v0.2");
  EXPECT_EQ(AttestText("sbom", "scanner:1"), "type=sbom,generator=scanner:1");
}

TEST(Request, WhatIsWrongIsNamed) {
  auto error = [](const char* text) { return ParseRequest({text}, {}).error().message; };
  EXPECT_THAT(error("type=vex"), HasSubstr("unknown attestation type \"vex\""));
  EXPECT_THAT(error("type=provenance,mode=some"), HasSubstr("invalid provenance mode \"some\""));
  EXPECT_THAT(error("type=provenance,version=v9"), HasSubstr("v1 or v0.2"));
  EXPECT_THAT(error("type=provenance,what=x"), HasSubstr("unknown parameter \"what\""));
  EXPECT_THAT(error("type=provenance,filename=../x"), HasSubstr("no name of a file"));
  EXPECT_THAT(error("type=provenance,capture-usage=true"), HasSubstr("capture-usage"));
  EXPECT_THAT(error("type=provenance,reproducible=perhaps"), HasSubstr("true or false"));
}

}  // namespace
}  // namespace varve::attest
