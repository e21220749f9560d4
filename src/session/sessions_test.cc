#include "session/sessions.h"

#include <dirent.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>

#include "api/secrets.grpc.pb.h"
#include "session/rpc.h"
#include "session/testing/fake_client.h"
#include "session/testing/fake_daemon.h"

namespace varve::session {
namespace {

using namespace std::chrono_literals;
using testing::FakeClient;
using testing::FakeDaemon;

class Secrets final : public moby::buildkit::secrets::v1::Secrets::Service {
 public:
  grpc::Status GetSecret(grpc::ServerContext* context, const moby::buildkit::secrets::v1::GetSecretRequest* request,
                         moby::buildkit::secrets::v1::GetSecretResponse* response) override {
    if (request->id() == "slow") {
      while (!context->IsCancelled()) std::this_thread::sleep_for(1ms);
      return grpc::Status::CANCELLED;
    }
    response->set_data("value of " + request->id());
    return grpc::Status::OK;
  }
};

Result<std::string> Ask(Session& session, const std::string& id, std::stop_token stop = {}) {
  Call call(stop);
  moby::buildkit::secrets::v1::GetSecretRequest request;
  moby::buildkit::secrets::v1::GetSecretResponse response;
  request.set_id(id);
  const auto stub = moby::buildkit::secrets::v1::Secrets::NewStub(session.channel());
  const grpc::Status status = stub->GetSecret(call.context(), request, &response);
  if (!status.ok()) return call.ToError(status, "secret " + id);
  return response.data();
}

bool WaitUntil(const std::function<bool()>& condition) {
  for (int i = 0; i < 20000 && !condition(); ++i) std::this_thread::sleep_for(1ms);
  return condition();
}

size_t EntriesOf(const char* directory) {
  size_t count = 0;
  DIR* stream = ::opendir(directory);
  while (::readdir(stream) != nullptr) ++count;
  ::closedir(stream);
  return count;
}

TEST(Sessions, CallsTheClientThroughItsStream) {
  FakeDaemon daemon;
  Secrets secrets;
  FakeClient client(daemon.Connect(), {.id = "one",
                                       .name = "project",
                                       .shared_key = "shared",
                                       .services = {&secrets},
                                       .methods = {"/moby.buildkit.secrets.v1.Secrets/GetSecret"}});
  auto session = daemon.sessions().Find("one", {});
  ASSERT_TRUE(session) << session.error().ToString();
  EXPECT_EQ((*session)->name(), "project");
  EXPECT_EQ((*session)->shared_key(), "shared");
  EXPECT_TRUE((*session)->Supports("/moby.buildkit.secrets.v1.secrets/getsecret"));
  EXPECT_FALSE((*session)->Supports("/moby.filesync.v1.FileSync/DiffCopy"));
  EXPECT_EQ(Ask(**session, "a").value(), "value of a");
}

TEST(Sessions, APrefixIsNoPartOfTheId) {
  FakeDaemon daemon;
  FakeClient client(daemon.Connect(), {.id = "one"});
  EXPECT_TRUE(daemon.sessions().Find("context:one", {}));
}

TEST(Sessions, ALookUpWaitsForTheClient) {
  FakeDaemon daemon;
  auto found = std::async([&] { return daemon.sessions().Find("late", {}).has_value(); });
  FakeClient client(daemon.Connect(), {.id = "late"});
  EXPECT_TRUE(found.get());
}

TEST(Sessions, ALookUpGivesUp) {
  FakeDaemon daemon({.wait = 20ms});
  const auto session = daemon.sessions().Find("never", {});
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Code::kNotFound);
  EXPECT_EQ(session.error().message, "no active session for never");
}

TEST(Sessions, AStopEndsALookUp) {
  FakeDaemon daemon({.wait = 1h});
  std::stop_source stop;
  auto found = std::async([&] { return daemon.sessions().Find("never", stop.get_token()); });
  stop.request_stop();
  EXPECT_EQ(found.get().error().code, Code::kCancelled);
}

TEST(Sessions, AnEndedSessionIsForgottenAndTellsThoseWhoHoldIt) {
  FakeDaemon daemon({.wait = 1ms});
  FakeClient client(daemon.Connect(), {.id = "one"});
  ASSERT_TRUE(WaitUntil([&] { return daemon.sessions().FindNow("one") != nullptr; }));
  const auto session = daemon.sessions().FindNow("one");
  client.Close();
  EXPECT_TRUE(client.Wait().ok());
  EXPECT_TRUE(WaitUntil([&] { return daemon.sessions().FindNow("one") == nullptr; }));
  EXPECT_TRUE(session->ended().stop_requested());
  EXPECT_EQ(session->Why(), "the client has left");
}

TEST(Sessions, ACallInFlightFailsWhenTheClientIsKilled) {
  FakeDaemon daemon;
  Secrets secrets;
  auto client =
      std::make_unique<FakeClient>(daemon.Connect(), testing::FakeClientOptions{.id = "one", .services = {&secrets}});
  auto session = daemon.sessions().Find("one", {});
  ASSERT_TRUE(session);
  auto answer = std::async([&] { return Ask(**session, "slow"); });
  client->Kill();
  EXPECT_EQ(answer.get().error().code, Code::kUnavailable);
}

TEST(Sessions, AStopEndsACall) {
  FakeDaemon daemon;
  Secrets secrets;
  FakeClient client(daemon.Connect(), {.id = "one", .services = {&secrets}});
  auto session = daemon.sessions().Find("one", {});
  ASSERT_TRUE(session);
  std::stop_source stop;
  auto answer = std::async([&] { return Ask(**session, "slow", stop.get_token()); });
  stop.request_stop();
  EXPECT_EQ(answer.get().error().code, Code::kCancelled);
}

TEST(Sessions, AnIdIsOpenOnce) {
  FakeDaemon daemon;
  FakeClient first(daemon.Connect(), {.id = "one"});
  ASSERT_TRUE(daemon.sessions().Find("one", {}));
  FakeClient second(daemon.Connect(), {.id = "one"});
  EXPECT_EQ(second.Wait().error_code(), grpc::StatusCode::ALREADY_EXISTS);
}

TEST(Sessions, ASessionNeedsAnId) {
  FakeDaemon daemon;
  FakeClient client(daemon.Connect(), {.id = ""});
  EXPECT_EQ(client.Wait().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(Sessions, TooManyAreRefused) {
  FakeDaemon daemon({.sessions = 1});
  FakeClient first(daemon.Connect(), {.id = "one"});
  ASSERT_TRUE(daemon.sessions().Find("one", {}));
  FakeClient second(daemon.Connect(), {.id = "two"});
  EXPECT_EQ(second.Wait().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST(Sessions, AClientThatFailsItsHealthChecksIsDropped) {
  FakeDaemon daemon({.health_interval = 5ms, .health_timeout = 1h});
  FakeClient client(daemon.Connect(), {.id = "one", .answers_health = false});
  auto session = daemon.sessions().Find("one", {});
  ASSERT_TRUE(session);
  client.Wait();
  EXPECT_EQ((*session)->Why(), "the client does not answer any more");
}

TEST(Sessions, AHealthyClientStays) {
  FakeDaemon daemon({.health_interval = 1ms});
  FakeClient client(daemon.Connect(), {.id = "one"});
  auto session = daemon.sessions().Find("one", {});
  ASSERT_TRUE(session);
  std::this_thread::sleep_for(30ms);
  EXPECT_FALSE((*session)->ended().stop_requested());
}

TEST(Sessions, ClosingEndsAllAndRefusesNewOnes) {
  FakeDaemon daemon;
  FakeClient client(daemon.Connect(), {.id = "one"});
  ASSERT_TRUE(daemon.sessions().Find("one", {}));
  daemon.sessions().Close("going down");
  client.Wait();
  FakeClient late(daemon.Connect(), {.id = "two"});
  EXPECT_EQ(late.Wait().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(Sessions, AnyOfAGroupMayAnswer) {
  FakeDaemon daemon({.wait = 50ms});
  Secrets secrets;
  FakeClient client(daemon.Connect(), {.id = "two", .services = {&secrets}});
  ASSERT_TRUE(WaitUntil([&] { return daemon.sessions().FindNow("two") != nullptr; }));
  std::string value;
  const Status status = daemon.sessions().WithAny({"one", "two"}, {}, [&](Session& session) -> Status {
    TRY_ASSIGN(value, Ask(session, "a"));
    return Ok();
  });
  EXPECT_TRUE(status) << status.error().ToString();
  EXPECT_EQ(value, "value of a");
  EXPECT_EQ(daemon.sessions().WithAny({}, {}, [](Session&) { return Ok(); }).error().code, Code::kNotFound);
}

// VARVE_SESSIONS=10000 for a soak.
TEST(Sessions, ManyLeaveNothingBehind) {
  const char* wanted = std::getenv("VARVE_SESSIONS");
  const int count = wanted != nullptr ? std::atoi(wanted) : 200;
  FakeDaemon daemon;
  Secrets secrets;
  const auto one = [&](int i) {
    const std::string id = "session-" + std::to_string(i);
    FakeClient client(daemon.Connect(), {.id = id, .services = {&secrets}});
    auto session = daemon.sessions().Find(id, {});
    ASSERT_TRUE(session) << session.error().ToString();
    if (i % 2 == 0) {
      EXPECT_TRUE(Ask(**session, "a"));
    }
    i % 3 == 0 ? client.Close() : client.Kill();
    client.Wait();
  };
  const auto settled = [&](size_t fds, size_t threads) {
    return WaitUntil([&] {
      return daemon.sessions().count() == 0 && EntriesOf("/proc/self/fd") <= fds &&
             EntriesOf("/proc/self/task") <= threads;
    });
  };
  for (int i = 0; i < 20; ++i) one(i);  // gRPC starts its threads
  ASSERT_TRUE(settled(1000, 1000));
  // What is there now may still go down, but what comes on top must go again.
  const size_t fds = EntriesOf("/proc/self/fd"), threads = EntriesOf("/proc/self/task");
  std::vector<std::jthread> clients;
  for (int first = 0; first < 10; ++first) {
    clients.emplace_back([&, first] {
      for (int i = 20 + first; i < count; i += 10) one(i);
    });
  }
  for (auto& client : clients) client.join();
  // gRPC keeps a few threads for each core once many clients were there at a time.
  EXPECT_TRUE(settled(fds + 4, threads + 40)) << EntriesOf("/proc/self/fd") << " descriptors, " << fds << " at first; "
                                              << EntriesOf("/proc/self/task") << " threads, " << threads << " at first";
}

}  // namespace
}  // namespace varve::session
