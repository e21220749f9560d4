// What one client can take of the daemon, and what others still have of it.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "api/control.grpc.pb.h"
#include "api/gateway.grpc.pb.h"
#include "api/health.grpc.pb.h"
#include "base/fd.h"
#include "daemon/fake_front_end.h"
#include "daemon/server.h"
#include "session/testing/fake_client.h"
#include "session/testing/file_service.h"
#include "sys/tempdir.h"

namespace varve::daemon {
namespace {

using session::testing::FakeClient;
using session::testing::FileService;

// A client with a context of one file.
struct OneClient {
  FileService files;
  std::unique_ptr<FakeClient> session;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<control::Control::Stub> stub;
  control::SolveRequest request;

  OneClient(const std::string& address, const std::string& directory, const std::string& name) {
    std::filesystem::create_directories(directory);
    CHECK(WriteFileAtomically(directory + "/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n").has_value());
    files.Share("context", directory);
    files.Share("dockerfile", directory);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    stub = control::Control::NewStub(channel);
    session = std::make_unique<FakeClient>(
        channel, session::testing::FakeClientOptions{
                     .id = name, .services = {&files}, .methods = {"/moby.filesync.v1.FileSync/DiffCopy"}});
    request.set_ref("build-of-" + name);
    request.set_session(name);
    request.set_frontend("dockerfile.v0");
  }
  grpc::Status Solve() {
    grpc::ClientContext context;
    control::SolveResponse response;
    return stub->Solve(&context, request, &response);
  }
  // Returns once the daemon knows of the build.
  std::future<grpc::Status> BeginAndWait() {
    request.clear_frontend();  // it goes on when its client says so
    auto solving = std::async(std::launch::async, [this] { return Solve(); });
    EXPECT_TRUE(FakeFrontEnd(channel, request.ref()).Ping().ok());
    return solving;
  }
};

struct ServerLimitsTest : ::testing::Test {
  sys::TempDir directory = std::move(*sys::TempDir::Create("/tmp", "varved-limits-"));
  const std::string address = "unix://" + directory.path() + "/d.sock";
  std::unique_ptr<Server> server;
  int clients = 0;

  void Start(ServerOptions options = {}) {
    options.addresses = {*ParseAddress(address)};
    options.policy.root = directory.path() + "/root";
    options.policy.registries = registry::Config();
    auto started = Server::Start(std::move(options));
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
  }
  std::unique_ptr<OneClient> Connect() {
    const std::string name = "client-" + std::to_string(++clients);
    return std::make_unique<OneClient>(address, directory.path() + "/" + name, name);
  }
};

TEST_F(ServerLimitsTest, TooManyBuildsAreRefused) {
  Start({.jobs = {.running = 1}});
  auto first = Connect(), second = Connect();
  auto solving = first->BeginAndWait();
  grpc::Status refused = second->Solve();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.error_message(), "this daemon runs 1 builds already, and takes no more");
  first->session->Kill();
  EXPECT_EQ(solving.get().error_code(), grpc::StatusCode::CANCELLED);
  grpc::Status taken = second->Solve();
  EXPECT_TRUE(taken.ok()) << taken.error_message();
}

TEST_F(ServerLimitsTest, ALargeRequestIsRefusedAndOthersAreServed) {
  Start({.message_bytes = 1 << 20});
  auto large = Connect(), other = Connect();
  (*large->request.mutable_frontend_attrs())["build-arg:LARGE"] = std::string(2 << 20, 'x');
  EXPECT_EQ(large->Solve().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  grpc::Status built = other->Solve();
  EXPECT_TRUE(built.ok()) << built.error_message();
}

TEST_F(ServerLimitsTest, TooManySessionsAreRefused) {
  ServerOptions options;
  options.sessions.sessions = 1;
  Start(std::move(options));
  auto first = Connect();
  grpc::Status built = first->Solve();  // its session is there
  EXPECT_TRUE(built.ok()) << built.error_message();
  auto second = Connect();
  EXPECT_EQ(second->session->Wait().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerLimitsTest, AClientThatStallsHoldsUpNobodyElse) {
  Start();
  auto stalled = Connect(), other = Connect();
  stalled->files.StallAfter(0);
  auto solving = std::async(std::launch::async, [&] { return stalled->Solve(); });
  stalled->files.AwaitStall();
  grpc::Status built = other->Solve();
  EXPECT_TRUE(built.ok()) << built.error_message();
  EXPECT_EQ(server->running_builds(), 1u);
  stalled->session->Kill();
  EXPECT_FALSE(solving.get().ok());  // the transfer failed, or the end of the session was seen first
  EXPECT_EQ(server->running_builds(), 0u);
}

TEST_F(ServerLimitsTest, AFrontEndThatIsDisabledIsRefused) {
  ServerOptions options;
  options.policy.disabled_frontends = {"dockerfile.v0"};
  Start(std::move(options));
  grpc::Status refused = Connect()->Solve();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(refused.error_message(), "frontend dockerfile.v0 not found: the configuration of this daemon disables it");
}

TEST_F(ServerLimitsTest, HealthIsToldUntilTheDaemonDrains) {
  Start();
  auto client = Connect();
  auto health = grpc::health::v1::Health::NewStub(client->channel);
  auto check = [&] {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse response;
    EXPECT_TRUE(health->Check(&context, {}, &response).ok());
    return response.status();
  };
  EXPECT_EQ(check(), grpc::health::v1::HealthCheckResponse::SERVING);
  server->Drain(std::chrono::milliseconds(0));
  EXPECT_EQ(check(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
}

}  // namespace
}  // namespace varve::daemon
