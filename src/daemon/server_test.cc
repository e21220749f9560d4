// Builds, outputs, front ends and history.
#include "api/content.grpc.pb.h"
#include "daemon/server_fixture.h"

namespace varve::daemon {
namespace {

TEST_F(ServerTest, SaysWhatItIs) {
  grpc::ClientContext context;
  control::ListWorkersResponse workers;
  ASSERT_TRUE(stub->ListWorkers(&context, {}, &workers).ok());
  ASSERT_EQ(workers.record_size(), 1);
  EXPECT_EQ(workers.record(0).platforms(0).os(), "linux");
  EXPECT_FALSE(workers.record(0).id().empty());
  struct stat st;
  ASSERT_EQ(stat(socket.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0660u);
}

TEST_F(ServerTest, ASecondDaemonDoesNotTakeTheSocket) {
  ServerOptions options;
  options.addresses = {*ParseAddress("unix://" + socket)};
  options.policy.root = directory.path() + "/other";
  auto second = Server::Start(std::move(options));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, "another daemon listens at " + socket);
}

TEST_F(ServerTest, BuildsAndSendsTheResult) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  auto request = Request("s");
  request.add_exporters()->set_type("tar");
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]), (std::vector<std::string>{"b"}));
  const control::Vertex* copy = Find(answer.events, "COPY a.txt /b");
  ASSERT_NE(copy, nullptr);
  EXPECT_TRUE(copy->has_completed());
  EXPECT_FALSE(copy->cached());
  EXPECT_NE(Find(answer.events, "[internal] load build definition from Dockerfile"), nullptr);
  // Again, and it is cached.
  Answer again = Solve([&] {
    auto second = request;
    second.set_ref("second");
    return second;
  }());
  ASSERT_TRUE(again.status.ok());
  ASSERT_NE(Find(again.events, "COPY a.txt /b"), nullptr);
  EXPECT_TRUE(Find(again.events, "COPY a.txt /b")->cached());
}

TEST_F(ServerTest, SeveralOutputsGoToTheExportersOfTheirNumber) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  auto request = Request("s");
  request.add_exporters()->set_type("oci");
  request.add_exporters()->set_type("tar");
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  auto oci = NamesIn((*takes.taken.Lock())["0"]);
  EXPECT_NE(std::ranges::find(oci, "oci-layout"), oci.end());
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["1"]), (std::vector<std::string>{"b"}));
  EXPECT_TRUE(answer.response.exporter_response().contains("containerimage.digest"));
}

// What a client names is the client's. Keys and layouts of this machine would be read for whoever asks.
TEST_F(ServerTest, FilesOfThisMachineAreNotTheClients) {
  Write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
  auto session = OpenSession("s");
  for (const char* key : {"sign-key", "verify-key"}) {
    auto request = Request("s");
    auto* cache = key == std::string("sign-key") ? request.mutable_cache()->add_exports()
                                                 : request.mutable_cache()->add_imports();
    cache->set_type("registry");
    (*cache->mutable_attrs())["ref"] = "127.0.0.1:1/cache";
    (*cache->mutable_attrs())[key] = "/etc/hostname";
    Answer answer = Solve(request);
    EXPECT_FALSE(answer.status.ok());
    EXPECT_NE(answer.status.error_message().find("sign-key and verify-key are not supported"), std::string::npos)
        << answer.status.error_message();
  }
  graph::Graph graph;
  graph.Add(
      {.op = graph::OciLayoutSource{.path = "/var/lib/images", .reference = "latest", .digest = Digest::Of("any")}});
  auto request = Request("s");
  request.clear_frontend();
  *request.mutable_definition() = llb::Encode(graph, graph::Ref{0, 0});
  Answer answer = Solve(request);
  EXPECT_FALSE(answer.status.ok());
  EXPECT_NE(answer.status.error_message().find("store oci:/var/lib/images of the client: unknown store"),
            std::string::npos)
      << answer.status.error_message();
}

TEST_F(ServerTest, AFrontEndInTheClientAsksAndReturns) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  auto request = RequestOfAClient("s");
  request.add_exporters()->set_type("tar");
  auto solving = Begin(request);
  FakeFrontEnd front_end(channel, request.ref());
  gateway::PongResponse pong;
  ASSERT_TRUE(front_end.Call(&FakeFrontEnd::Stub::Ping, {}, pong).ok());
  EXPECT_GT(pong.frontend_api_caps_size(), 0);
  for (const auto& cap : pong.llb_caps()) {
    EXPECT_TRUE(cap.enabled()) << cap.id();  // buildx takes every name in the list for a promise
  }
  gateway::SolveRequest solve;
  solve.set_frontend("dockerfile.v0");
  solve.set_allow_result_return(true);
  gateway::SolveResponse solved;
  ASSERT_TRUE(front_end.Call(&FakeFrontEnd::Stub::Solve, solve, solved).ok());
  ASSERT_TRUE(solved.result().has_ref());
  EXPECT_TRUE(solved.result().metadata().contains("containerimage.config"));
  gateway::ReadFileRequest read;
  read.set_ref(solved.result().ref().id());
  read.set_file_path("/b");
  gateway::ReadFileResponse file;
  auto status = front_end.Call(&FakeFrontEnd::Stub::ReadFile, read, file);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(file.data(), "text");
  ASSERT_TRUE(front_end.Return(solved.result()).ok());
  Answer answer = solving.get();
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]), (std::vector<std::string>{"b"}));
}

TEST_F(ServerTest, AProbeReturnsNothingAndEndsWell) {
  auto request = RequestOfAClient("");
  request.set_internal(true);
  auto solving = Begin(request);
  ASSERT_TRUE(FakeFrontEnd(channel, request.ref()).Return().ok());
  Answer answer = solving.get();
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
}

TEST_F(ServerTest, TheErrorOfAClientsFrontEndIsTheBuilds) {
  auto request = RequestOfAClient("");
  auto solving = Begin(request);
  gateway::ReturnRequest failed;
  failed.mutable_error()->set_code(grpc::StatusCode::UNKNOWN);
  failed.mutable_error()->set_message("the front end gave up");
  gateway::ReturnResponse returned;
  FakeFrontEnd front_end(channel, request.ref());
  ASSERT_TRUE(front_end.Call(&FakeFrontEnd::Stub::Return, failed, returned).ok());
  EXPECT_EQ(solving.get().status.error_message(), "the front end gave up");
}

TEST_F(ServerTest, AWrongDockerfileIsAnErrorWithItsPlace) {
  Write("Dockerfile", "FROM scratch\nRNU x\n");
  auto session = OpenSession("s");
  Answer answer = Solve(Request("s"));
  EXPECT_EQ(answer.status.error_message(),
            "dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)");
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(answer.status.error_details()));
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "github.com/moby/buildkit/errdefs.Source+json");
}

TEST_F(ServerTest, AMissingFileNamesTheVertexThatFailed) {
  Write("Dockerfile", "FROM scratch\nCOPY missing /b\n");
  auto session = OpenSession("s");
  Answer answer = Solve(Request("s"));
  ASSERT_FALSE(answer.status.ok());
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(answer.status.error_details()));
  std::string digest;
  for (const auto& detail : details.details()) {
    if (detail.type_url().ends_with("errdefs.Vertex+json")) digest = detail.value();
  }
  const control::Vertex* copy = Find(answer.events, "COPY missing /b");
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(digest, "{\"digest\":\"" + copy->digest() + "\"}");
  EXPECT_NE(copy->error(), "");
}

TEST_F(ServerTest, ABuildWithoutItsSessionSaysSo) {
  Answer answer = Solve(Request(""));
  EXPECT_EQ(answer.status.error_message(), "this build needs a session of its client, and came without one");
}

TEST_F(ServerTest, EntitlementsAreTheOperatorsToGrant) {
  auto session = OpenSession("s");
  auto request = Request("s");
  request.add_entitlements("security.insecure");
  EXPECT_EQ(Solve(request).status.error_message(),
            "granting entitlement security.insecure is not allowed by build daemon configuration");
}

TEST_F(ServerTest, AProxyBeforeTheNetworkOfStepsIsNotPretended) {
  auto session = OpenSession("s");
  auto request = Request("s");
  request.set_proxy_network(true);
  EXPECT_EQ(Solve(request).status.error_message(),
            "this daemon has no proxy network: steps reach the network directly");
}

TEST_F(ServerTest, AClientThatGoesAwayEndsItsBuild) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  files.StallAfter(0);  // the transfer never ends by itself
  auto session = OpenSession("s");
  auto request = Request("s");
  auto solving = std::async(std::launch::async, [&] { return Solve(request); });
  files.AwaitStall();
  EXPECT_EQ(server->running_builds(), 1u);
  session->Kill();
  // Whether as cancelled or as a transfer that broke off: nobody is there to read it.
  EXPECT_FALSE(solving.get().status.ok());
  EXPECT_EQ(server->running_builds(), 0u);
}

TEST_F(ServerTest, ACallThatIsCancelledEndsItsBuild) {
  auto request = RequestOfAClient("");  // whose front end never returns
  grpc::ClientContext context;
  control::SolveResponse response;
  auto solving = std::async(std::launch::async, [&] { return stub->Solve(&context, request, &response); });
  auto status = std::async(std::launch::async, [&] { return ReadStatus(request.ref()); });
  ASSERT_TRUE(FakeFrontEnd(channel, request.ref()).Ping().ok());
  context.TryCancel();
  EXPECT_EQ(solving.get().error_code(), grpc::StatusCode::CANCELLED);
  status.get();  // its stream ends
}

TEST_F(ServerTest, AJobThatNobodyKnowsIsNotFound) {
  StartServer({.wait = std::chrono::milliseconds(10)});
  EXPECT_EQ(FakeFrontEnd(channel, "moon").Ping().error_code(), grpc::StatusCode::NOT_FOUND);
  grpc::ClientContext other;
  control::StatusRequest request;
  request.set_ref("moon");
  control::StatusResponse response;
  auto stream = stub->Status(&other, request);
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServerTest, ABuildIsInTheHistory) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  auto request = Request("s");
  ASSERT_TRUE(Solve(request).status.ok());
  StartServer();  // nothing of it is in memory any more
  grpc::ClientContext context;
  control::BuildHistoryRequest ask;
  ask.set_early_exit(true);
  auto stream = stub->ListenBuildHistory(&context, ask);
  control::BuildHistoryEvent event;
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.record().ref(), request.ref());
  EXPECT_EQ(event.type(), control::COMPLETE);
  EXPECT_GT(event.record().num_total_steps(), 0);
  EXPECT_FALSE(stream->Read(&event));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_NE(Find(ReadStatus(request.ref()), "COPY a.txt /b"), nullptr);
}

TEST_F(ServerTest, TheHistoryTellsAnErrorInFullWithItsStack) {
  Write("Dockerfile", "FROM scratch\nCOPY missing /b\n");
  auto session = OpenSession("s");
  auto request = Request("s");
  const Answer answer = Solve(request);
  ASSERT_FALSE(answer.status.ok());
  StartServer();
  control::BuildHistoryEvent event;
  {
    grpc::ClientContext context;
    control::BuildHistoryRequest ask;
    ask.set_early_exit(true);
    auto stream = stub->ListenBuildHistory(&context, ask);
    ASSERT_TRUE(stream->Read(&event));
  }
  const auto& record = event.record();
  EXPECT_EQ(record.error().details_size(), 0);
  EXPECT_EQ(record.error().message(), answer.status.error_message());
  EXPECT_EQ(record.external_error().media_type(), "application/vnd.googeapis.google.rpc.status+proto");
  namespace content = containerd::services::content::v1;
  auto contents = content::Content::NewStub(channel);
  auto read = [&](std::string& text) {
    grpc::ClientContext context;
    content::ReadContentRequest wanted;
    wanted.set_digest(record.external_error().digest());
    auto stream = contents->Read(&context, wanted);
    content::ReadContentResponse part;
    while (stream->Read(&part)) text += part.data();
    return stream->Finish();
  };
  std::string text;
  ASSERT_TRUE(read(text).ok());
  EXPECT_EQ(static_cast<int64_t>(text.size()), record.external_error().size());
  google::rpc::Status status;
  ASSERT_TRUE(status.ParseFromString(text));
  EXPECT_EQ(status.message(), record.error().message());
  ASSERT_GE(status.details_size(), 2);
  EXPECT_EQ(status.details(0).type_url(), "github.com/moby/buildkit/errdefs.Source+json");
  const auto& stack = status.details(status.details_size() - 1);
  EXPECT_EQ(stack.type_url(), "github.com/moby/buildkit/stack.Stack+json");
  EXPECT_NE(stack.value().find("\"File\":\"Dockerfile\",\"Line\":2"), std::string::npos) << stack.value();
  // It goes with its record.
  grpc::ClientContext context;
  control::UpdateBuildHistoryRequest remove;
  remove.set_ref(request.ref());
  remove.set_delete_(true);
  control::UpdateBuildHistoryResponse removed;
  ASSERT_TRUE(stub->UpdateBuildHistory(&context, remove, &removed).ok());
  EXPECT_EQ(read(text).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServerTest, ADockerfileMayComeWithoutAnyFilesOfTheClient) {
  session::testing::FakeClient bare(channel, {.id = "bare"});
  graph::Graph graph;
  graph.Add(
      {.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/Dockerfile", .data = "FROM scratch\n"}}}});
  auto request = Request("bare");
  (*request.mutable_frontend_inputs())["dockerfile"] = llb::Encode(graph, graph::Ref{0, 0});
  const Answer answer = Solve(request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
}

TEST_F(ServerTest, DirectoriesMayBeAnotherClients) {
  Write("Dockerfile", "FROM scratch AS named\nFROM scratch\nCOPY a.txt /a\nCOPY --from=named a.txt /b\n");
  Write("a.txt", "text");
  files.Share("more", directory.path() + "/ctx");
  auto other = OpenSession("other");
  session::testing::FakeClient own(channel, {.id = "own"});
  auto request = Request("own");
  for (const char* mount : {"context", "dockerfile", "more"}) {
    (*request.mutable_frontend_attrs())[std::string("local-sessionid:") + mount] = "other";
  }
  (*request.mutable_frontend_attrs())["context:named"] = "local:more";
  const Answer answer = Solve(request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_NE(Find(answer.events, "COPY --from=named a.txt /b"), nullptr);
}

TEST_F(ServerTest, TheHistoryKnowsTheImageOfEachExporter) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  auto request = Request("s");
  request.add_exporters()->set_type("tar");
  for (const char* media_types : {"true", "false"}) {
    auto* image = request.add_exporters();
    image->set_type("image");
    (*image->mutable_attrs())["name"] = std::string("host/a:") + media_types;
    (*image->mutable_attrs())["oci-mediatypes"] = media_types;
  }
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  grpc::ClientContext context;
  control::BuildHistoryRequest ask;
  ask.set_early_exit(true);
  auto stream = stub->ListenBuildHistory(&context, ask);
  control::BuildHistoryEvent event;
  ASSERT_TRUE(stream->Read(&event));
  const control::BuildResultInfo& result = event.record().result();
  ASSERT_EQ(result.results_size(), 2);
  EXPECT_EQ(result.results().at(1).media_type(), "application/vnd.oci.image.manifest.v1+json");
  EXPECT_EQ(result.results().at(2).media_type(), "application/vnd.docker.distribution.manifest.v2+json");
  EXPECT_EQ(result.result_deprecated().digest(), result.results().at(1).digest());
  grpc::ClientContext reading;
  content::ReadContentRequest read;
  read.set_digest(result.results().at(1).digest());
  auto blob = content::Content::NewStub(channel)->Read(&reading, read);
  content::ReadContentResponse part;
  EXPECT_TRUE(blob->Read(&part));
}

TEST_F(ServerTest, ManyClientsBuildAtOnce) {
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  constexpr int kClients = 20;
  std::vector<std::future<grpc::Status>> all;
  for (int i = 0; i < kClients; ++i) {
    auto request = Request("s" + std::to_string(i));
    request.add_exporters()->set_type("tar");
    all.push_back(std::async(std::launch::async, [this, request] {
      auto session = OpenSession(request.session());
      return Solve(request).status;
    }));
  }
  for (auto& one : all) {
    grpc::Status status = one.get();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(server->running_builds(), 0u);
}

TEST_F(ServerTest, DrainingTakesNoMoreBuildsAndCancelsWhatDoesNotEnd) {
  auto request = RequestOfAClient("");
  auto solving = Begin(request);
  ASSERT_TRUE(FakeFrontEnd(channel, request.ref()).Ping().ok());
  server->Drain(std::chrono::milliseconds(0));
  EXPECT_EQ(solving.get().status.error_code(), grpc::StatusCode::CANCELLED);
  grpc::ClientContext context;
  control::SolveResponse response;
  auto refused = stub->Solve(&context, Request(""), &response);
  EXPECT_EQ(refused.error_message(), "the daemon is going down and takes no more builds");
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(Address, IsUnixTcpOrADescriptor) {
  EXPECT_EQ(ParseAddress("unix:///a/b")->path, "/a/b");
  EXPECT_EQ(ParseAddress("tcp://127.0.0.1:1234")->host_port, "127.0.0.1:1234");
  EXPECT_EQ(ParseAddress("fd://")->descriptor, 3);
  for (const char* wrong : {"unix://a", "tcp://host", "tcp://host:x", "fd://1", "moon"}) {
    EXPECT_FALSE(ParseAddress(wrong)) << wrong;
  }
}

TEST(Tcp, NeedsCertificatesUnlessToldOtherwise) {
  sys::TempDir root = std::move(*sys::TempDir::Create("/tmp", "varved-"));
  ServerOptions options;
  options.addresses = {*ParseAddress("tcp://127.0.0.1:0")};
  options.policy.root = root.path();
  auto refused = Server::Start(options);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.starts_with("a tcp address needs TLS")) << refused.error().message;
  options.insecure_tcp = true;
  auto served = Server::Start(options);
  ASSERT_TRUE(served) << served.error().message;
  EXPECT_TRUE((*served)->addresses()[0].starts_with("tcp://127.0.0.1:"));
}

}  // namespace
}  // namespace varve::daemon
