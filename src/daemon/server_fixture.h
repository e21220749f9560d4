// The daemon from outside: a client that makes the calls that docker buildx makes (reference daemon-api.md §5),
// over a unix socket, with a session that serves its files and takes the outputs. Images are made of files alone, so
// that no registry is needed.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "api/control.grpc.pb.h"
#include "api/gateway.grpc.pb.h"
#include "archive/tar.h"
#include "base/fd.h"
#include "daemon/content_service.h"
#include "daemon/fake_front_end.h"
#include "daemon/server.h"
#include "llb/definition.h"
#include "session/testing/content_stores.h"
#include "session/testing/fake_client.h"
#include "session/testing/file_service.h"
#include "sys/tempdir.h"

namespace varve::daemon {

// Takes what exporters send.
class Takes final : public moby::filesync::v1::FileSend::Service {
 public:
  grpc::Status DiffCopy(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<moby::filesync::v1::BytesMessage, moby::filesync::v1::BytesMessage>* stream) override {
    std::string bytes;
    moby::filesync::v1::BytesMessage message;
    while (stream->Read(&message)) bytes += message.data();
    auto id = context->client_metadata().find("buildkit-attachable-exporter-id");
    std::string key = id == context->client_metadata().end() ? "" : std::string(id->second.data(), id->second.size());
    taken.Lock()->insert_or_assign(key, std::move(bytes));
    return grpc::Status::OK;
  }
  Guarded<std::map<std::string, std::string>> taken;
};

struct Answer {
  grpc::Status status;
  control::SolveResponse response;
  control::StatusResponse events;  // all of Status
};

struct ServerTest : ::testing::Test {
  sys::TempDir directory = std::move(*sys::TempDir::Create("/tmp", "varved-"));
  std::string socket = directory.path() + "/d.sock";
  std::unique_ptr<Server> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<control::Control::Stub> stub;
  session::testing::FileService files;
  Takes takes;
  session::testing::ContentStores content;
  int builds = 0;

  void SetUp() override {
    StartServer();
    std::filesystem::create_directories(directory.path() + "/ctx");
    files.Share("context", directory.path() + "/ctx");
    files.Share("dockerfile", directory.path() + "/ctx");
  }
  void StartServer(JobLimits limits = {}) {
    server.reset();
    ServerOptions options;
    options.addresses = {*ParseAddress("unix://" + socket)};
    options.policy.root = directory.path() + "/root";
    options.policy.registries = registry::Config();
    options.jobs = limits;
    auto started = Server::Start(std::move(options));
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
    channel = grpc::CreateChannel("unix://" + socket, grpc::InsecureChannelCredentials());
    stub = control::Control::NewStub(channel);
  }
  // As on another machine.
  void StartServerOfANewRoot() {
    server.reset();
    std::filesystem::remove_all(directory.path() + "/root");
    StartServer();
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(directory.path() + "/ctx/" + name) << text;
  }
  std::unique_ptr<session::testing::FakeClient> OpenSession(const std::string& id) {
    std::vector<std::string> methods = session::testing::ContentStores::Methods();
    for (const char* service : {"FileSync", "FileSend"}) {
      methods.push_back("/moby.filesync.v1." + std::string(service) + "/DiffCopy");
    }
    return std::make_unique<session::testing::FakeClient>(
        channel, session::testing::FakeClientOptions{
                     .id = id, .services = {&files, &takes, &content}, .methods = std::move(methods)});
  }
  // As buildctl does: the front end is the daemon's.
  control::SolveRequest Request(const std::string& session) {
    control::SolveRequest request;
    request.set_ref("build-" + std::to_string(++builds));
    request.set_session(session);
    request.set_frontend("dockerfile.v0");
    return request;
  }
  // Its front end is in the client: the build waits for what that returns.
  control::SolveRequest RequestOfAClient(const std::string& session) {
    auto request = Request(session);
    request.clear_frontend();
    return request;
  }
  std::future<Answer> Begin(const control::SolveRequest& request) {
    return std::async(std::launch::async, [this, request] { return Solve(request); });
  }
  Answer Solve(const control::SolveRequest& request) {
    Answer answer;
    auto status = std::async(std::launch::async, [&] { answer.events = ReadStatus(request.ref()); });
    grpc::ClientContext context;
    answer.status = stub->Solve(&context, request, &answer.response);
    status.get();
    return answer;
  }
  control::StatusResponse ReadStatus(const std::string& ref) {
    grpc::ClientContext context;
    control::StatusRequest request;
    request.set_ref(ref);
    auto stream = stub->Status(&context, request);
    control::StatusResponse all, part;
    while (stream->Read(&part)) all.MergeFrom(part);
    EXPECT_TRUE(stream->Finish().ok());
    return all;
  }
  static const control::Vertex* Find(const control::StatusResponse& events, const std::string& name) {
    const control::Vertex* last = nullptr;
    for (const auto& vertex : events.vertexes()) {
      if (vertex.name().find(name) != std::string::npos) last = &vertex;
    }
    return last;
  }
  std::vector<std::string> NamesIn(const std::string& tar) {
    std::vector<std::string> names;
    StringReader in(tar);
    archive::TarReader reader(in);
    while (true) {
      auto entry = reader.Next();
      if (!entry || !*entry) break;
      names.push_back((*entry)->name);
    }
    return names;
  }
};

}  // namespace varve::daemon
