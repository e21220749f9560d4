// What the history of builds tells of how each came to be: its provenance, and its trace.
#include "daemon/server_fixture.h"

namespace varve::daemon {
namespace {

constexpr char kDockerfile[] =
    "FROM scratch AS base\nARG TEXT\nCOPY a.txt /$TEXT\nFROM scratch\nCOPY --from=linked / /\n";

struct ProvenanceTest : ServerTest {
  std::unique_ptr<session::testing::FakeClient> session;

  void SetUp() override {
    ServerTest::SetUp();
    Write("Dockerfile", kDockerfile);
    Write("a.txt", "text");
    session = OpenSession("s");
  }
  control::BuildHistoryRecord RecordOf(const std::string& ref) {
    grpc::ClientContext context;
    control::BuildHistoryRequest request;
    request.set_ref(ref);
    request.set_early_exit(true);
    auto stream = stub->ListenBuildHistory(&context, request);
    control::BuildHistoryEvent event;
    while (stream->Read(&event)) {
    }
    EXPECT_TRUE(stream->Finish().ok());
    return event.record();
  }
  std::string Read(const control::Descriptor& descriptor) {
    grpc::ClientContext context;
    content::ReadContentRequest request;
    request.set_digest(descriptor.digest());
    auto stream = content::Content::NewStub(channel)->Read(&context, request);
    content::ReadContentResponse response;
    std::string text;
    while (stream->Read(&response)) text += response.data();
    EXPECT_TRUE(stream->Finish().ok());
    EXPECT_EQ(static_cast<int64_t>(text.size()), descriptor.size());
    return text;
  }
  Json ProvenanceOf(const control::BuildResultInfo& result) {
    if (result.attestations_size() != 1) return {};
    const control::Descriptor& descriptor = result.attestations(0);
    EXPECT_EQ(descriptor.media_type(), "application/vnd.in-toto+json");
    EXPECT_EQ(descriptor.annotations().at("in-toto.io/predicate-type"), "https://slsa.dev/provenance/v1");
    return *Json::Parse(Read(descriptor));
  }
  static const Json& RequestIn(const Json& provenance) {
    return *provenance.Find("buildDefinition")->Find("externalParameters")->Find("request");
  }

  // A call of a client's front end, with what a call before it gave as the input "base".
  gateway::Result Call(const FakeFrontEnd& front_end, std::map<std::string, std::string> attributes,
                       const gateway::Result* base = nullptr) {
    gateway::SolveRequest solve;
    solve.set_frontend("dockerfile.v0");
    if (base != nullptr) {
      attributes["context:linked"] = "input:base";
      (*solve.mutable_frontend_inputs())["base"] = base->ref().def();
    }
    solve.mutable_frontend_opt()->insert(attributes.begin(), attributes.end());
    solve.set_allow_result_return(true);
    gateway::SolveResponse solved;
    const grpc::Status status = front_end.Call(&FakeFrontEnd::Stub::Solve, solve, solved);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return solved.result();
  }
};

TEST_F(ProvenanceTest, EveryBuildHasItInTheHistory) {
  auto request = Request("s");
  (*request.mutable_frontend_attrs())["target"] = "base";
  (*request.mutable_frontend_attrs())["build-arg:TEXT"] = "b";
  (*request.mutable_frontend_attrs())["attest:provenance"] = "mode=min,builder-id=https://ci.example/1";
  ASSERT_TRUE(Solve(request).status.ok());
  const Json provenance = ProvenanceOf(RecordOf(request.ref()).result());
  EXPECT_EQ(RequestIn(provenance).Dump(),
            R"({"frontend":"dockerfile.v0","args":{"build-arg:TEXT":"b","target":"base"},)"
            R"("locals":[{"name":"context"},{"name":"dockerfile"}]})");
  const Json& run = *provenance.Find("runDetails");
  EXPECT_EQ(run.Find("builder")->GetString("id"), "https://ci.example/1");
  const Json& file = run.Find("metadata")->Find("buildkit_metadata")->Find("source")->GetArray("infos").at(0);
  EXPECT_EQ(file.GetString("filename"), "Dockerfile");
  const Json& reads = file.GetArray("llbDefinition").at(0);
  EXPECT_EQ(reads.Find("op")->Find("Op")->Find("source")->GetString("identifier"), "local://dockerfile");
}

TEST_F(ProvenanceTest, EachPlatformHasItsOwn) {
  auto request = Request("s");
  (*request.mutable_frontend_attrs())["target"] = "base";
  (*request.mutable_frontend_attrs())["build-arg:TEXT"] = "b";
  (*request.mutable_frontend_attrs())["platform"] = "linux/amd64,linux/arm64";
  ASSERT_TRUE(Solve(request).status.ok());
  const auto record = RecordOf(request.ref());
  EXPECT_EQ(record.result().attestations_size(), 0);
  ASSERT_EQ(record.results().size(), 2u);
  EXPECT_FALSE(ProvenanceOf(record.results().at("linux/arm64")).is_null());
}

TEST_F(ProvenanceTest, ABuildThatFailedHasNone) {
  auto request = Request("s");
  (*request.mutable_frontend_attrs())["target"] = "none of that name";
  EXPECT_FALSE(Solve(request).status.ok());
  EXPECT_EQ(RecordOf(request.ref()).result().attestations_size(), 0);
}

TEST_F(ProvenanceTest, TheCallThatMadeAnInputIsTold) {
  auto request = RequestOfAClient("s");
  (*request.mutable_frontend_attrs())["asked-of"] = "the client";
  auto solving = Begin(request);
  FakeFrontEnd front_end(channel, request.ref());
  const gateway::Result base = Call(front_end, {{"target", "base"}, {"build-arg:TEXT", "b"}});
  ASSERT_TRUE(front_end.Return(Call(front_end, {}, &base)).ok());
  ASSERT_TRUE(solving.get().status.ok());
  const Json provenance = ProvenanceOf(RecordOf(request.ref()).result());
  const Json& told = RequestIn(provenance);
  EXPECT_EQ(told.Find("args")->Dump(), R"({"context:linked":"input:base"})");
  EXPECT_EQ(
      told.Find("inputs")->Dump(),
      R"({"base":{"configSource":{},"request":{"frontend":"dockerfile.v0","args":{"build-arg:TEXT":"b","target":"base"}}}})");
  EXPECT_EQ(told.Find("root")->Dump(), R"({"configSource":{},"request":{"args":{"asked-of":"the client"}}})");
}

TEST_F(ProvenanceTest, TheCallMayBeOfAnotherBuildThatRuns) {
  auto of_base = RequestOfAClient("s");
  auto making = Begin(of_base);
  FakeFrontEnd maker(channel, of_base.ref());
  const gateway::Result base = Call(maker, {{"target", "base"}, {"build-arg:TEXT", "b"}});
  auto with_input = [&] {
    auto request = Request("s");
    (*request.mutable_frontend_attrs())["context:linked"] = "input:base";
    (*request.mutable_frontend_inputs())["base"] = base.ref().def();
    const Answer answer = Solve(request);
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    return ProvenanceOf(RecordOf(request.ref()).result());
  };
  const Json told = with_input();
  ASSERT_NE(RequestIn(told).Find("inputs"), nullptr) << told.Dump();
  EXPECT_EQ(RequestIn(told).Find("inputs")->Find("base")->Find("request")->Find("args")->GetString("target"), "base");
  EXPECT_EQ(RequestIn(told).Find("root"), nullptr);
  ASSERT_TRUE(maker.Return().ok());
  ASSERT_TRUE(making.get().status.ok());
  EXPECT_EQ(RequestIn(with_input()).Find("inputs"), nullptr);
}

TEST_F(ProvenanceTest, ADefinitionOfTheClientsOwnIsOfNoCall) {
  graph::Graph graph;
  graph.Add({.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/made", .data = "text"}}}});
  auto request = Request("s");
  (*request.mutable_frontend_attrs())["context:linked"] = "input:base";
  (*request.mutable_frontend_inputs())["base"] = llb::Encode(graph, graph::Ref{0, 0});
  ASSERT_TRUE(Solve(request).status.ok());
  EXPECT_EQ(RequestIn(ProvenanceOf(RecordOf(request.ref()).result())).Find("inputs"), nullptr);
}

TEST_F(ProvenanceTest, TheTraceOfABuildIsBesideIt) {
  auto request = Request("s");
  (*request.mutable_frontend_attrs())["target"] = "base";
  (*request.mutable_frontend_attrs())["build-arg:TEXT"] = "b";
  ASSERT_TRUE(Solve(request).status.ok());
  const auto record = RecordOf(request.ref());
  EXPECT_EQ(record.trace().media_type(), "application/vnd.buildkit.otlp.json.v0");
  const std::string text = Read(record.trace());
  EXPECT_NE(text.find("\"Name\":\"[base 1/1] COPY a.txt /b\""), std::string::npos) << text;
}

}  // namespace
}  // namespace varve::daemon
