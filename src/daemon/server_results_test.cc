// Results that a client's front end puts together: of some of what it had built, of several builds, of nothing.
#include "daemon/server_fixture.h"
#include "registry/testing/fake_registry.h"

namespace varve::daemon {
namespace {

struct ResultsTest : ServerTest {
  std::unique_ptr<session::testing::FakeClient> session;
  std::future<Answer> solving;
  std::optional<FakeFrontEnd> front_end;

  void SetUp() override {
    ServerTest::SetUp();
    session = OpenSession("s");
    auto request = RequestOfAClient("s");
    request.add_exporters()->set_type("oci");
    (*request.mutable_exporters(0)->mutable_attrs())["name"] = "example.com/app:1";
    solving = Begin(request);
    front_end.emplace(channel, request.ref());
  }
  gateway::Result SolveDockerfile(const std::string& platforms, const std::string& target) {
    gateway::SolveRequest solve;
    solve.set_frontend("dockerfile.v0");
    (*solve.mutable_frontend_opt())["platform"] = platforms;
    (*solve.mutable_frontend_opt())["target"] = target;
    solve.set_allow_result_return(true);
    gateway::SolveResponse solved;
    const grpc::Status status = front_end->Call(&FakeFrontEnd::Stub::Solve, solve, solved);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return solved.result();
  }
  // A JSON blob of the archive that the client got.
  Json Blob(const std::string& digest) {
    StringReader in((*takes.taken.Lock())["0"]);
    archive::TarReader reader(in);
    while (true) {
      auto entry = reader.Next();
      if (!entry || !*entry) break;
      const std::string name = digest == "index" ? "index.json" : "blobs/sha256/" + digest.substr(7);
      if ((*entry)->name == name) return *Json::Parse(*ReadAll(reader.content(), 1 << 20));
    }
    ADD_FAILURE() << "no " << digest;
    return {};
  }
  std::vector<Json> Manifests() {
    const Json index = Blob(Blob("index").GetArray("manifests").at(0).GetString("digest"));
    std::vector<Json> manifests;
    for (const Json& listed : index.GetArray("manifests")) manifests.push_back(Blob(listed.GetString("digest")));
    return manifests;
  }
  Json ConfigOf(const Json& manifest) { return Blob(manifest.Find("config")->GetString("digest")); }
  static std::string Label(const Json& config, const char* name) {
    return config.Find("config")->Find("Labels")->GetString(name);
  }
  static pb::Definition Making(const std::string& name) {
    graph::Graph graph;
    graph.Add({.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/" + name, .data = "text"}}},
               .platform = oci::HostPlatform(),
               .name = "make " + name});
    return llb::Encode(graph, graph::Ref{0, 0});
  }
  // One definition a platform. Neither says which platform it is for.
  Answer BuildTwoPlatforms(const control::SolveRequest& request) {
    auto building = Begin(request);
    const FakeFrontEnd both(channel, request.ref());
    gateway::Result result;
    (*result.mutable_refs()->mutable_refs())["linux/amd64"] = both.Solve(Making("one")).ref();
    (*result.mutable_refs()->mutable_refs())["linux/arm64"] = both.Solve(Making("two")).ref();
    EXPECT_TRUE(both.Return(result).ok());
    return building.get();
  }
  void ExpectHitsOfTwoPlatforms(const control::CacheOptionsEntry& from) {
    for (const std::string name : {"one", "two", "three"}) {
      auto request = Request("s");
      request.clear_frontend();
      *request.mutable_definition() = Making(name);
      *request.mutable_cache()->add_imports() = from;
      const Answer again = Solve(request);
      ASSERT_TRUE(again.status.ok()) << again.status.error_message();
      const control::Vertex* step = Find(again.events, "make " + name);
      ASSERT_NE(step, nullptr);
      EXPECT_EQ(step->cached(), name != "three") << name;
    }
  }
  Answer Return(const gateway::Result& result) {
    EXPECT_TRUE(front_end->Return(result).ok());
    return solving.get();
  }
};

TEST_F(ResultsTest, APlatformWithoutAReferenceIsAnEmptyFileSystem) {
  gateway::Result result;
  for (const char* platform : {"linux/amd64", "linux/arm64"}) {
    (*result.mutable_refs()->mutable_refs())[platform];
    const std::string architecture = std::string(platform).substr(6);
    (*result.mutable_metadata())[std::string("containerimage.config/") + platform] =
        R"({"os":"linux","architecture":")" + architecture + R"(","config":{"Labels":{"of":")" + platform + R"("}}})";
  }
  const Answer answer = Return(result);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const std::vector<Json> manifests = Manifests();
  ASSERT_EQ(manifests.size(), 2u);
  EXPECT_TRUE(manifests[1].GetArray("layers").empty());
  EXPECT_EQ(ConfigOf(manifests[1]).GetString("architecture"), "arm64");
  EXPECT_EQ(Label(ConfigOf(manifests[1]), "of"), "linux/arm64");
}

TEST_F(ResultsTest, TheStatusOfAnExportNamesWhatItMade) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  const Answer answer = Return(SolveDockerfile("linux/amd64,linux/arm64", ""));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  std::set<std::string> told;
  for (const auto& status : answer.events.statuses()) {
    if (status.has_completed()) told.insert(status.id());
  }
  EXPECT_TRUE(told.contains("exporting layers"));
  EXPECT_TRUE(
      told.contains("exporting manifest list " + answer.response.exporter_response().at("containerimage.digest")));
  const Json index = Blob(answer.response.exporter_response().at("containerimage.digest"));
  for (const Json& listed : index.GetArray("manifests")) {
    EXPECT_TRUE(told.contains("exporting manifest " + listed.GetString("digest")));
    EXPECT_TRUE(
        told.contains("exporting config " + Blob(listed.GetString("digest")).Find("config")->GetString("digest")));
  }
}

TEST_F(ResultsTest, SomePlatformsOfABuildAreEnough) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  gateway::Result result = SolveDockerfile("linux/amd64,linux/arm64", "");
  result.mutable_refs()->mutable_refs()->erase("linux/amd64");
  (*result.mutable_metadata())["refs.platforms"] =
      R"({"Platforms":[{"ID":"linux/arm64","Platform":{"architecture":"arm64","os":"linux"}}]})";
  const Answer answer = Return(result);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const std::vector<Json> manifests = Manifests();
  ASSERT_EQ(manifests.size(), 1u);
  EXPECT_EQ(manifests[0].GetArray("layers").size(), 1u);
  EXPECT_EQ(ConfigOf(manifests[0]).GetString("architecture"), "arm64");
}

TEST_F(ResultsTest, SeveralCallsOfTheFrontEndAreOneResult) {
  Write("Dockerfile",
        "FROM scratch AS one\nCOPY a.txt /b\nLABEL is=one\nFROM scratch AS two\nCOPY a.txt /c\nLABEL is=two\n");
  Write("a.txt", "text");
  gateway::Result result = SolveDockerfile("linux/amd64,linux/arm64", "one");
  const gateway::Result other = SolveDockerfile("linux/amd64,linux/arm64", "two");
  (*result.mutable_refs()->mutable_refs())["linux/arm64"] = other.refs().refs().at("linux/arm64");
  const std::string key = "containerimage.config/linux/arm64";
  (*result.mutable_metadata())[key] = other.metadata().at(key);
  const Answer answer = Return(result);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const std::vector<Json> manifests = Manifests();
  ASSERT_EQ(manifests.size(), 2u);
  EXPECT_EQ(Label(ConfigOf(manifests[0]), "is"), "one");
  EXPECT_EQ(Label(ConfigOf(manifests[1]), "is"), "two");
}

TEST_F(ResultsTest, AFrontEndNamesAnImageThatTheClientLeavesOpen) {
  gateway::Result result;
  (*result.mutable_metadata())["image.name"] = "localhost/made:1,localhost/made:2";
  const Answer answer = Return(result);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.response.exporter_response().at("image.name"), "example.com/app:1");
  auto open = RequestOfAClient("s");
  open.add_exporters()->set_type("oci");
  (*open.mutable_exporters(0)->mutable_attrs())["name"] = "*";
  auto of_open = Begin(open);
  ASSERT_TRUE(FakeFrontEnd(channel, open.ref()).Return(result).ok());
  const Answer named = of_open.get();
  ASSERT_TRUE(named.status.ok()) << named.status.error_message();
  EXPECT_EQ(named.response.exporter_response().at("image.name"), "localhost/made:1,localhost/made:2");
  // A name that is none, of nobody.
  auto none = open;
  none.set_ref("build-of-no-name");
  auto of_none = Begin(none);
  ASSERT_TRUE(FakeFrontEnd(channel, none.ref()).Return().ok());
  EXPECT_NE(of_none.get().status.error_message().find("invalid"), std::string::npos);
}

TEST_F(ResultsTest, TheConfigIsTheClients) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\nLABEL is=one\n");
  Write("a.txt", "text");
  gateway::Result result = SolveDockerfile("linux/amd64,linux/arm64", "");
  std::string& config = (*result.mutable_metadata())["containerimage.config/linux/amd64"];
  config.replace(config.find("\"one\""), 5, "\"changed\"");
  const Answer answer = Return(result);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const std::vector<Json> manifests = Manifests();
  EXPECT_EQ(Label(ConfigOf(manifests[0]), "is"), "changed");
  EXPECT_EQ(ConfigOf(manifests[0]).GetArray("history").size(), 2u);
  EXPECT_EQ(Label(ConfigOf(manifests[1]), "is"), "one");
}

TEST_F(ResultsTest, ACacheHoldsTheStepsOfAllDefinitionsThatTheResultIsMadeOf) {
  Return({});
  content.Add("local:the cache");
  auto exporting = RequestOfAClient("s");
  exporting.mutable_cache()->add_exports()->set_type("local");
  (*exporting.mutable_cache()->mutable_exports(0)->mutable_attrs())["dest"] = "the cache";
  const Answer built = BuildTwoPlatforms(exporting);
  ASSERT_TRUE(built.status.ok()) << built.status.error_message();
  auto list = Json::Parse(built.response.exporter_response().at("cache.manifest"));
  ASSERT_TRUE(list);

  session.reset();
  StartServerOfANewRoot();
  session = OpenSession("s");
  control::CacheOptionsEntry from;
  from.set_type("local");
  (*from.mutable_attrs())["src"] = "the cache";
  (*from.mutable_attrs())["digest"] = list->GetString("digest");
  ExpectHitsOfTwoPlatforms(from);
}

// As clients' front ends build Dockerfiles: of a stage that begins with nothing, no step says its platform.
TEST_F(ResultsTest, AnInlineCacheOfAnyPlatformAnswers) {
  Return({});
  registry::testing::FakeRegistry registry;
  const std::string app = registry.Address() + "/team/app:1";
  auto pushing = RequestOfAClient("s");
  auto* output = pushing.add_exporters();
  output->set_type("image");
  (*output->mutable_attrs())["name"] = app;
  (*output->mutable_attrs())["push"] = "true";
  pushing.mutable_cache()->add_exports()->set_type("inline");
  const Answer built = BuildTwoPlatforms(pushing);
  ASSERT_TRUE(built.status.ok()) << built.status.error_message();

  session.reset();
  StartServerOfANewRoot();
  session = OpenSession("s");
  control::CacheOptionsEntry from;
  from.set_type("registry");
  (*from.mutable_attrs())["ref"] = app;
  ExpectHitsOfTwoPlatforms(from);
}

// A build without any files of the client.
TEST_F(ServerTest, AClientWithoutFilesBuildsADockerfileOfAnInput) {
  graph::Graph graph;
  graph.Add(
      {.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/Dockerfile", .data = "FROM scratch\n"}}}});
  session::testing::FakeClient session(channel, {.id = "s", .services = {}, .methods = {}});
  auto request = Request("s");
  (*request.mutable_frontend_inputs())["dockerfile"] = llb::Encode(graph, graph::Ref{0, 0});
  const Answer answer = Solve(request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
}

}  // namespace
}  // namespace varve::daemon
