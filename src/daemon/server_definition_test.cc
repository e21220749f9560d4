// Builds of definitions, and what is left of builds.
#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/server_fixture.h"

namespace varve::daemon {
namespace {

TEST_F(ServerTest, ADefinitionIsBuiltAndShownByItsOwnDigests) {
  graph::Graph graph;
  graph.Add({.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/made", .data = "text"}}},
             .name = "make it"});
  pb::Definition definition = llb::Encode(graph, graph::Ref{0, 0});
  auto session = OpenSession("s");
  auto request = Request("s");
  request.clear_frontend();
  *request.mutable_definition() = definition;
  request.add_exporters()->set_type("tar");
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]), (std::vector<std::string>{"made"}));
  const control::Vertex* made = Find(answer.events, "make it");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->digest(), Digest::Of(definition.def(0)).ToString());
}

TEST_F(ServerTest, ADefinitionWithoutOpsIsAnEmptyFileSystem) {
  auto session = OpenSession("s");
  auto request = Request("s");
  request.clear_frontend();
  request.mutable_definition();
  request.add_exporters()->set_type("tar");
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_TRUE(NamesIn((*takes.taken.Lock())["0"]).empty());
}

TEST_F(ServerTest, AQuestionForNothingIsAnsweredWithNothing) {
  auto request = RequestOfAClient("");
  auto solving = Begin(request);
  FakeFrontEnd front_end(channel, request.ref());
  gateway::SolveRequest solve;
  solve.set_allow_result_return(true);
  gateway::SolveResponse solved;
  ASSERT_TRUE(front_end.Call(&FakeFrontEnd::Stub::Solve, solve, solved).ok());
  EXPECT_EQ(solved.result().ByteSizeLong(), 0u) << solved.DebugString();
  EXPECT_TRUE(solved.has_result());
  ASSERT_TRUE(front_end.Return(solved.result()).ok());
  EXPECT_TRUE(solving.get().status.ok());
}

TEST_F(ServerTest, AFrontEndAsksWhatASourceIs) {
  auto session = OpenSession("s");
  auto request = RequestOfAClient("s");
  auto solving = Begin(request);
  FakeFrontEnd front_end(channel, request.ref());
  auto ask = [&](const std::string& identifier, gateway::ResolveSourceMetaResponse& answer) {
    gateway::ResolveSourceMetaRequest question;
    question.mutable_source()->set_identifier(identifier);
    return front_end.Call(&FakeFrontEnd::Stub::ResolveSourceMeta, question, answer);
  };
  // A commit is itself, whoever keeps the repository.
  const std::string commit(40, 'a');
  gateway::ResolveSourceMetaResponse answer;
  auto status = ask("git://example.invalid/repo.git#" + commit, answer);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answer.git().checksum(), commit);
  EXPECT_EQ(answer.git().commit_checksum(), "");
  EXPECT_EQ(answer.source().identifier(), "git://example.invalid/repo.git#" + commit);
  gateway::ResolveSourceMetaResponse local;
  EXPECT_TRUE(ask("local://context", local).ok());
  EXPECT_EQ(local.source().identifier(), "local://context");
  EXPECT_FALSE(ask("no scheme", answer).ok());
  ASSERT_TRUE(front_end.Return().ok());
  EXPECT_TRUE(solving.get().status.ok());
}

// A registry that takes a connection and says nothing, for a question that is still open when the build ends.
TEST_F(ServerTest, ABuildEndsTheCallsOfItsFrontEnd) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener.get(), 8), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  auto session = OpenSession("s");
  auto request = RequestOfAClient("s");
  auto solving = Begin(request);
  FakeFrontEnd front_end(channel, request.ref());
  auto asking = std::async(std::launch::async, [&] {
    gateway::ResolveImageConfigRequest question;
    question.set_ref(fmt::format("127.0.0.1:{}/silent:1", ntohs(address.sin_port)));
    gateway::ResolveImageConfigResponse answer;
    return front_end.Call(&FakeFrontEnd::Stub::ResolveImageConfig, question, answer);
  });
  const Fd connection(accept(listener.get(), nullptr, nullptr));  // now it waits
  ASSERT_TRUE(front_end.Return().ok());
  EXPECT_TRUE(solving.get().status.ok());
  EXPECT_FALSE(asking.get().ok());
}

TEST_F(ServerTest, ADefinitionThatIsRefusedEndsWithItsReason) {
  graph::Graph graph;
  graph.Add({.op =
                 graph::Exec{
                     .args = {"true"}, .mounts = {{.target = "/", .output = 0}}, .network = graph::NetworkMode::kHost},
             .inputs = {}});
  auto session = OpenSession("s");
  auto request = Request("s");
  request.clear_frontend();
  *request.mutable_definition() = llb::Encode(graph, graph::Ref{0, 0});
  Answer answer = Solve(request);
  ASSERT_FALSE(answer.status.ok());
  EXPECT_NE(answer.status.error_message().find("network.host is not allowed"), std::string::npos)
      << answer.status.error_message();
}

TEST_F(ServerTest, ABuildsDataIsListedReadAndPruned) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  {
    auto session = OpenSession("s");
    auto request = Request("s");
    request.add_exporters()->set_type("oci");
    Answer answer = Solve(request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  }
  auto blobs = content::Content::NewStub(channel);
  auto list = [&] {
    grpc::ClientContext context;
    auto stream = blobs->List(&context, {});
    content::ListContentResponse all, part;
    while (stream->Read(&part)) all.MergeFrom(part);
    EXPECT_TRUE(stream->Finish().ok());
    return all;
  };
  content::ListContentResponse listed = list();
  ASSERT_GT(listed.info_size(), 0);
  content::ReadContentRequest read;
  read.set_digest(listed.info(0).digest());
  std::string bytes;
  for (int64_t from : {int64_t{0}, listed.info(0).size() / 2}) {
    grpc::ClientContext context;
    read.set_offset(from);
    read.set_size(from == 0 ? listed.info(0).size() / 2 : 0);
    auto stream = blobs->Read(&context, read);
    content::ReadContentResponse part;
    while (stream->Read(&part)) {
      EXPECT_EQ(part.offset(), static_cast<int64_t>(bytes.size()));
      bytes += part.data();
    }
    EXPECT_TRUE(stream->Finish().ok());
  }
  EXPECT_EQ(Digest::Of(bytes).ToString(), read.digest());
  auto usage = [&] {
    grpc::ClientContext context;
    control::DiskUsageResponse response;
    EXPECT_TRUE(stub->DiskUsage(&context, {}, &response).ok());
    return response;
  };
  EXPECT_GT(usage().record_size(), 0);
  grpc::ClientContext context;
  control::PruneRequest prune;
  prune.set_all(true);
  auto stream = stub->Prune(&context, prune);
  control::UsageRecord record;
  while (stream->Read(&record)) EXPECT_FALSE(record.id().empty());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(usage().record_size(), 0) << usage().DebugString();
  EXPECT_EQ(list().info_size(), 0);
}

TEST_F(ServerTest, ABuildGoesOnWithTheResultOfAnother) {
  Write("Dockerfile", "FROM base\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  graph::Graph graph;
  graph.Add({.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/made", .data = "text"}}}});
  auto session = OpenSession("s");
  auto request = Request("s");
  (*request.mutable_frontend_attrs())["context:base"] = "input:base";
  (*request.mutable_frontend_inputs())["base"] = llb::Encode(graph, graph::Ref{0, 0});
  request.add_exporters()->set_type("tar");
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]), (std::vector<std::string>{"b", "made"}));
}

TEST_F(ServerTest, TheContextAndTheDockerfileMayBeResultsOfOthers) {
  auto file = [](const char* path, const char* text) {
    graph::Graph graph;
    graph.Add({.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = path, .data = text}}}});
    return llb::Encode(graph, graph::Ref{0, 0});
  };
  auto session = OpenSession("s");
  auto request = Request("s");
  (*request.mutable_frontend_inputs())["context"] = file("/made", "text");
  (*request.mutable_frontend_inputs())["dockerfile"] = file("/Dockerfile", "FROM scratch\nCOPY made /b\n");
  request.add_exporters()->set_type("tar");
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]), std::vector<std::string>{"b"});
}

TEST_F(ServerTest, WhatAFrontEndInTheClientAttestsGoesWithTheResult) {
  const std::string statement =
      R"({"_type":"https://in-toto.io/Statement/v1","predicateType":"https://spdx.dev/Document","predicate":{"name":"seen"}})";
  auto definition_of = [](graph::MakeFile file) {
    graph::Graph graph;
    graph.Add({.op = graph::FileOp{.base = -1, .actions = {std::move(file)}}});
    return llb::Encode(graph, graph::Ref{0, 0});
  };
  auto session = OpenSession("s");
  auto request = RequestOfAClient("s");
  (*request.mutable_frontend_attrs())["attest:provenance"] = "mode=max";
  (*request.mutable_frontend_attrs())["attest:sbom"] = "";
  request.add_exporters()->set_type("tar");
  auto solving = Begin(request);
  FakeFrontEnd front_end(channel, request.ref());
  gateway::Result result = front_end.Solve(definition_of({.path = "/made", .data = "text"}));
  gateway::Attestation& bundle = *(*result.mutable_attestations())[""].add_attestation();
  bundle.set_kind(gateway::Bundle);
  *bundle.mutable_ref() = front_end.Solve(definition_of({.path = "/sbom.spdx.json", .data = statement})).ref();
  // A predicate may be nothing at all.
  gateway::Attestation& note = *(*result.mutable_attestations())[""].add_attestation();
  note.set_kind(gateway::InToto);
  note.set_path("/note.json");
  note.set_in_toto_predicate_type("https://example.com/note");
  *note.mutable_ref() = front_end.Solve(definition_of({.path = "/note.json", .data = ""})).ref();
  ASSERT_TRUE(front_end.Return(result).ok());
  Answer answer = solving.get();
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]),
            (std::vector<std::string>{"made", "sbom.spdx.json", "note.json", "provenance.json"}));
}

TEST_F(ServerTest, TheEpochOfAResultIsThatOfItsFiles) {
  graph::Graph graph;
  graph.Add({.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/made", .data = "text"}}}});
  auto session = OpenSession("s");
  auto request = RequestOfAClient("s");
  request.add_exporters()->set_type("tar");
  auto solving = Begin(request);
  FakeFrontEnd front_end(channel, request.ref());
  gateway::Result result = front_end.Solve(llb::Encode(graph, graph::Ref{0, 0}));
  (*result.mutable_metadata())["source.date.epoch"] = "1000000000";
  ASSERT_TRUE(front_end.Return(result).ok());
  Answer answer = solving.get();
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ((*takes.taken.Lock())["0"].substr(136, 11), "07346545000");  // the first header's mtime, octal
}

TEST_F(ServerTest, AnEmptyInputIsRefused) {
  Write("Dockerfile", "FROM base\n");
  auto session = OpenSession("s");
  auto request = Request("s");
  (*request.mutable_frontend_attrs())["context:base"] = "input:base";
  (*request.mutable_frontend_inputs())["base"];
  Answer answer = Solve(request);
  EXPECT_EQ(answer.status.error_message(), "invalid nil input definition to definition op: base");
}

TEST_F(ServerTest, AMalformedDefinitionIsRefused) {
  auto session = OpenSession("s");
  auto request = Request("s");
  request.clear_frontend();
  request.mutable_definition()->add_def("no operation");
  EXPECT_FALSE(Solve(request).status.ok());
}

}  // namespace
}  // namespace varve::daemon
