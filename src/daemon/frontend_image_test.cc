#include "daemon/frontend_image.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/create_channel_posix.h>
#include <unistd.h>

#include "base/json.h"
#include "daemon/fake_front_end.h"

namespace varve::daemon {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

FrontendImage ImageOf(const std::string& config) { return FrontendImageOf(*oci::ImageConfig::Parse(config)); }

TEST(FrontendImage, IsWhatTheConfigSays) {
  FrontendImage image = ImageOf(R"({"config":{"Entrypoint":["/bin/fe","-v"],"Cmd":["not","used"],"Env":["A=b"],
      "WorkingDir":"/work","Labels":{"moby.buildkit.frontend.network.none":"true",
      "moby.buildkit.frontend.caps":"moby.buildkit.frontend.inputs, moby.buildkit.frontend.subrequests+forward"}}})");
  EXPECT_THAT(image.args, ElementsAre("/bin/fe", "-v"));
  EXPECT_EQ(image.cwd, "/work");
  EXPECT_TRUE(image.no_network);
  EXPECT_THAT(image.capabilities, ElementsAre("moby.buildkit.frontend.inputs", "moby.buildkit.frontend.subrequests"));
  image = ImageOf("{}");
  EXPECT_THAT(image.args, ElementsAre("/run"));
  EXPECT_EQ(image.cwd, "/");
  EXPECT_FALSE(image.no_network);
}

TEST(FrontendImage, IsAskedOnlyForWhatItSaysItCan) {
  FrontendImage image{.args = {}, .env = {}, .cwd = "/", .capabilities = {"a.b"}};
  EXPECT_FALSE(CheckCapabilities(image, {{"frontend.caps", "a.b+forward"}}, false));
  auto failure = CheckCapabilities(image, {{"frontend.caps", "a.b,c.d"}}, false);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error.message, "unsupported frontend capability c.d");
  EXPECT_EQ(failure->capability, "c.d");
  failure = CheckCapabilities(image, {}, true);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->capability, "moby.buildkit.frontend.inputs");
}

TEST(FrontendImage, FindsItsCallInTheEnvironment) {
  FrontendImage image{.args = {}, .env = {"PATH=/bin"}, .cwd = "/", .capabilities = {}};
  WorkerFacts worker{.id = "w1",
                     .hostname = "h",
                     .emulated = {},
                     .platforms = {"linux/arm64"},
                     .policies = {},
                     .labels = {{"a", "b"}}};
  worker.policies.emplace_back().set_keep_duration(5);
  auto env = EnvironmentOf(image, {{"filename", "x=y"}, {"build-arg:A", "1"}}, "s1", worker);
  EXPECT_THAT(
      env, IsSupersetOf({"PATH=/bin", "BUILDKIT_FRONTEND_OPT_0=build-arg:A=1", "BUILDKIT_FRONTEND_OPT_1=filename=x=y",
                         "BUILDKIT_SESSION_ID=s1", "BUILDKIT_EXPORTEDPRODUCT="}));
  std::string workers;
  for (const std::string& entry : env) {
    if (entry.starts_with("BUILDKIT_WORKERS=")) workers = entry.substr(17);
  }
  auto json = Json::Parse(workers);
  ASSERT_TRUE(json) << workers;
  ASSERT_EQ(json->as_array().size(), 1u);
  const Json& only = json->as_array()[0];
  EXPECT_EQ(only.GetString("id"), "w1");
  EXPECT_EQ(only.Find("labels")->GetString("a"), "b");
  EXPECT_EQ(only.GetArray("platforms")[0].GetString("architecture"), "arm64");
  EXPECT_EQ(only.GetArray("gcPolicy")[0].GetInt("keepDuration"), 5);
}

// A program that is a function here: it makes calls over the streams that it is started with.
struct RunsAFrontend : ::testing::Test {
  using Program = std::function<int(FakeFrontEnd&)>;

  std::optional<Failure> Run(const Program& program, const std::string& says = {}) {
    return RunFrontend(
        {.name = "example.com/fe:1", .job = job, .inputs = inputs, .asked = asked, .worker = worker},
        [&](sandbox::Streams streams) -> Result<sandbox::Outcome> {
          EXPECT_EQ(write(streams.err.get(), says.data(), says.size()), static_cast<ssize_t>(says.size()));
          fcntl(streams.in.get(), F_SETFL, O_NONBLOCK);
          FakeFrontEnd front_end(grpc::CreateInsecureChannelFromFd("stdio", streams.in.Release()), "");
          return sandbox::Outcome{.exit_code = program(front_end), .mount_point_parents = {}};
        },
        result);
  }

  WorkerFacts worker{.id = "w1", .hostname = "h", .emulated = {}};
  Invocations invocations;
  SolveJob job{{}, {}, worker, invocations, [](std::stop_token) -> Result<std::shared_ptr<Client>> {
                 return Invalid("no session");
               }};
  llb::Definitions inputs;
  attest::Invocation asked;
  gateway::Result result;
};

TEST_F(RunsAFrontend, WhoseCallsAreItsJobs) {
  inputs["base"].add_def("bytes");
  auto failure = Run([&](FakeFrontEnd& front_end) {
    gateway::PongResponse pong;
    EXPECT_TRUE(front_end.Call(&FakeFrontEnd::Stub::Ping, {}, pong).ok());
    EXPECT_EQ(pong.workers(0).id(), "w1");
    gateway::InputsResponse given;
    EXPECT_TRUE(front_end.Call(&FakeFrontEnd::Stub::Inputs, {}, given).ok());
    EXPECT_EQ(given.definitions().at("base").def(0), "bytes");
    // Asked of the job, which has no client to do it for.
    gateway::SolveRequest solve;
    solve.set_frontend("dockerfile.v0");
    gateway::SolveResponse solved;
    EXPECT_THAT(front_end.Call(&FakeFrontEnd::Stub::Solve, solve, solved).error_message(), HasSubstr("no session"));
    gateway::Result returned;
    (*returned.mutable_metadata())["made"] = "here";
    EXPECT_TRUE(front_end.Return(returned).ok());
    gateway::Result late;
    (*late.mutable_metadata())["made"] = "too late";
    EXPECT_TRUE(front_end.Return(late).ok());
    return 0;
  });
  EXPECT_FALSE(failure);
  EXPECT_EQ(result.metadata().at("made"), "here");
}

TEST_F(RunsAFrontend, WhoseOwnErrorComesFirst) {
  auto failure = Run([&](FakeFrontEnd& front_end) {
    gateway::ReturnRequest request;
    request.mutable_error()->set_code(3);
    request.mutable_error()->set_message("line 3 is wrong");
    request.mutable_error()->add_details()->set_type_url("its own");
    gateway::ReturnResponse response;
    EXPECT_TRUE(front_end.Call(&FakeFrontEnd::Stub::Return, request, response).ok());
    return 1;
  });
  ASSERT_TRUE(failure);
  google::rpc::Status status = ToProto(*failure);
  EXPECT_EQ(status.message(), "line 3 is wrong");
  EXPECT_EQ(status.details(0).type_url(), "its own");
}

TEST_F(RunsAFrontend, WhoseEndIsToldWithItsLastWords) {
  auto failure = Run([](FakeFrontEnd& front_end) { return front_end.Return().ok() ? 3 : 0; }, "panic: no luck\n");
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error.message,
            "the front end example.com/fe:1 did not complete successfully: exit code: 3\npanic: no luck");
  std::string lines;
  for (int i = 1000; i < 2000; ++i) lines += fmt::format("line {}\n", i);
  failure = Run([](FakeFrontEnd&) { return 0; }, lines);
  ASSERT_TRUE(failure);
  EXPECT_THAT(failure->error.message, HasSubstr("ended without a result:\nline 1"));
  EXPECT_THAT(failure->error.message, ::testing::EndsWith("line 1999"));
  EXPECT_LT(failure->error.message.size(), 2200u);
}

}  // namespace
}  // namespace varve::daemon
