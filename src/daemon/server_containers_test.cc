// Containers of front ends, through the calls that clients make.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>

#include "api/errdefs.pb.h"
#include "api/rpc_status.pb.h"
#include "daemon/server_fixture.h"

namespace varve::daemon {
namespace {

using ::testing::HasSubstr;

constexpr const char* kBusybox = "/bin/busybox";

struct ServerContainers : ServerTest {
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (access(kBusybox, X_OK) != 0) GTEST_SKIP() << "needs the package busybox-static";
    ServerTest::SetUp();
    session = OpenSession("s");
    auto request = RequestOfAClient("s");
    solving = Begin(request);
    front_end = std::make_unique<FakeFrontEnd>(channel, request.ref());
    graph::FileOp image{.base = -1,
                        .actions = {graph::MakeFile{.path = "/busybox", .data = *ReadFile(kBusybox), .mode = 0755},
                                    graph::MakeFile{.path = "/data", .data = "built"}}};
    for (const char* applet : {"/sh", "/cat", "/stty", "/test"}) {
      image.actions.push_back(graph::MakeSymlink{.target = "busybox", .path = applet});
    }
    graph::Graph graph;
    graph.Add({.op = std::move(image), .name = "files"});
    rootfs = front_end->Solve(llb::Encode(graph, graph::Ref{0, 0})).ref().id();
  }
  void TearDown() override {
    if (!front_end) return;
    EXPECT_TRUE(front_end->Return().ok());
    EXPECT_TRUE(solving.get().status.ok());
  }

  gateway::NewContainerRequest Container(const std::string& id) {
    gateway::NewContainerRequest wanted;
    wanted.set_container_id(id);
    pb::Mount& root = *wanted.add_mounts();
    root.set_dest("/");
    root.set_result_id(rootfs);
    return wanted;
  }
  grpc::Status Create(const gateway::NewContainerRequest& wanted) {
    gateway::NewContainerResponse made;
    return front_end->Call(&FakeFrontEnd::Stub::NewContainer, wanted, made);
  }
  grpc::Status Release(const std::string& id) {
    gateway::ReleaseContainerRequest released;
    released.set_container_id(id);
    gateway::ReleaseContainerResponse done;
    return front_end->Call(&FakeFrontEnd::Stub::ReleaseContainer, released, done);
  }

  std::unique_ptr<session::testing::FakeClient> session;
  std::future<Answer> solving;
  std::unique_ptr<FakeFrontEnd> front_end;
  std::string rootfs;
};

// One stream for all processes of a client.
struct Stream {
  explicit Stream(ServerContainers& server)
      : context(server.front_end->Context()), stream(server.front_end->stub().ExecProcess(context.get())) {}
  ~Stream() {
    context->TryCancel();
    stream->Finish();
  }
  void Init(const std::string& container, const std::string& process, const std::string& script, bool tty = false) {
    gateway::ExecMessage message;
    message.set_process_id(process);
    gateway::InitMessage& init = *message.mutable_init();
    init.set_container_id(container);
    for (const char* arg : {"/sh", "-c"}) init.mutable_meta()->add_args(arg);
    init.mutable_meta()->add_args(script);
    init.mutable_meta()->add_env("PATH=/");
    for (uint32_t fd : {0, 1, 2}) init.add_fds(fd);
    init.set_tty(tty);
    ASSERT_TRUE(stream->Write(message));
  }
  void Input(const std::string& process, const std::string& data, bool eof) {
    gateway::ExecMessage message;
    message.set_process_id(process);
    message.mutable_file()->set_data(data);
    message.mutable_file()->set_eof(eof);
    ASSERT_TRUE(stream->Write(message));
  }
  // Reads until the process has written `text`, or is done.
  void Await(const std::string& process, const std::string& text = {}) {
    gateway::ExecMessage message;
    while (!done[process] && (text.empty() || output[process].find(text) == std::string::npos)) {
      ASSERT_TRUE(stream->Read(&message));
      const std::string& id = message.process_id();
      if (message.has_started()) {
        EXPECT_TRUE(started.insert(id).second);
      }
      EXPECT_TRUE(started.contains(id));
      EXPECT_FALSE(done[id]);
      if (message.has_file()) output[id] += message.file().data();
      if (message.has_exit()) exits[id] = message.exit();
      if (message.has_done()) done[id] = true;
    }
  }

  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientReaderWriter<gateway::ExecMessage, gateway::ExecMessage>> stream;
  std::set<std::string> started;
  std::map<std::string, std::string> output;
  std::map<std::string, gateway::ExitMessage> exits;
  std::map<std::string, bool> done;
};

TEST(FrontendContainers, AreAHundredAtMost) {
  FrontendContainers containers;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(containers.Add(std::to_string(i), nullptr));
  EXPECT_EQ(containers.Add("one more", nullptr).error().code, Code::kResource);
}

TEST_F(ServerContainers, ProcessesShareAContainer) {
  ASSERT_TRUE(Create(Container("c")).ok());
  EXPECT_THAT(Create(Container("c")).error_message(), HasSubstr("already exists"));
  Stream stream(*this);
  stream.Init("c", "first", "echo ready; cat");
  stream.Await("first", "ready");
  stream.Init("c", "second", "cat /data; cat > /written; exit 3");
  stream.Input("second", "by the second", true);
  stream.Await("second");
  EXPECT_EQ(stream.output["second"], "built");
  EXPECT_EQ(stream.exits["second"].code(), 3u);
  EXPECT_EQ(stream.exits["second"].error().message(), "exit code: 3");
  EXPECT_EQ(stream.exits["second"].error().details(0).type_url(),
            "github.com/moby/buildkit/gatewayapi.ExitMessage+json");
  EXPECT_EQ(stream.exits["second"].error().details(0).value(), "{\"Code\":3}");
  gateway::ReadFileRequest read;
  read.set_ref("c");
  read.set_file_path("/written");
  gateway::ReadFileResponse text;
  ASSERT_TRUE(front_end->Call(&FakeFrontEnd::Stub::ReadFileContainer, read, text).ok());
  EXPECT_EQ(text.data(), "by the second");
  read.set_mount_index(1);
  EXPECT_THAT(front_end->Call(&FakeFrontEnd::Stub::ReadFileContainer, read, text).error_message(),
              HasSubstr("out of bounds"));
  stream.Input("first", "", true);
  stream.Await("first");
  EXPECT_EQ(stream.exits["first"].code(), 0u);
  EXPECT_THAT(Release("c").error_message(), HasSubstr("exit code: 3"));
  // The result itself has not changed.
  read.set_ref(rootfs);
  EXPECT_FALSE(front_end->Call(&FakeFrontEnd::Stub::ReadFile, read, text).ok());
}

TEST_F(ServerContainers, AReleaseEndsItsProcesses) {
  ASSERT_TRUE(Create(Container("c")).ok());
  Stream stream(*this);
  stream.Init("c", "first", "echo ready; cat");
  stream.Await("first", "ready");
  stream.Init("c", "second", "echo ready; cat", true);
  stream.Await("second", "ready");
  EXPECT_EQ(Release("c").error_code(), grpc::StatusCode::CANCELLED);
  for (const char* process : {"first", "second"}) {
    stream.Await(process);
    EXPECT_EQ(stream.exits[process].code(), 255u);
    EXPECT_EQ(stream.exits[process].error().message(), "context canceled");
  }
  EXPECT_FALSE(Release("c").ok());
  stream.Init("c", "late", "true");
  stream.Await("late");
  EXPECT_THAT(stream.exits["late"].error().message(), HasSubstr("previously released or not created"));
}

// As a debugger does: the failed step's mounts, with what it has written, and those that it was given.
TEST_F(ServerContainers, WhatAFailedStepHasLeftIsLookedInto) {
  graph::Graph graph;
  graph.Add(
      {.op = graph::FileOp{.base = -1,
                           .actions = {graph::MakeFile{.path = "/busybox", .data = *ReadFile(kBusybox), .mode = 0755},
                                       graph::MakeSymlink{.target = "busybox", .path = "/sh"}}},
       .name = "files"});
  graph.Add({.op = graph::Exec{.args = {"/sh", "-c", "echo left > /written; echo too > /extra/file; exit 3"},
                               .mounts = {{.target = "/", .input = 0, .output = 0}, {.target = "/extra"}}},
             .inputs = {{0, 0}},
             .name = "it fails"});
  gateway::SolveRequest request;
  *request.mutable_definition() = llb::Encode(graph, graph::Ref{1, 0});
  request.set_evaluate(true);
  gateway::SolveResponse response;
  grpc::Status status = front_end->Call(&FakeFrontEnd::Stub::Solve, request, response);
  EXPECT_THAT(status.error_message(), HasSubstr("exit code: 3"));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  errdefs::Solve solve;
  for (const auto& detail : details.details()) {
    if (!detail.type_url().ends_with("/errdefs.Solve+json")) continue;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(detail.value(), &solve).ok()) << detail.value();
  }
  ASSERT_EQ(solve.op().exec().mounts_size(), 2) << details.DebugString();
  ASSERT_EQ(solve.mountids_size(), 2);
  ASSERT_EQ(solve.inputids_size(), 2);

  gateway::NewContainerRequest wanted;
  wanted.set_container_id("c");
  for (int i = 0; i < 2; ++i) {
    pb::Mount& mount = *wanted.add_mounts();
    mount.set_dest(solve.op().exec().mounts(i).dest());
    mount.set_result_id(solve.mountids(i));
  }
  ASSERT_TRUE(Create(wanted).ok());
  Stream stream(*this);
  stream.Init("c", "look", "read a < /written; read b < /extra/file; echo $a $b");
  stream.Await("look");
  EXPECT_EQ(stream.output["look"], "left too\n");
  // What it was given is as it was.
  gateway::ReadFileRequest read;
  read.set_ref(solve.inputids(0));
  read.set_file_path("/written");
  gateway::ReadFileResponse text;
  EXPECT_THAT(front_end->Call(&FakeFrontEnd::Stub::ReadFile, read, text).error_message(), HasSubstr("written"));
  EXPECT_TRUE(Release("c").ok());
}

// What nobody reads does not keep the messages behind it waiting.
TEST_F(ServerContainers, InputThatNobodyReadsIsDropped) {
  const std::string much(2 << 20, 'x');
  Stream stream(*this);
  stream.Init("none", "lost", "true");
  for (int i = 0; i < 3; ++i) stream.Input("lost", much, false);
  ASSERT_TRUE(Create(Container("c")).ok());
  gateway::ExecMessage deaf;
  deaf.set_process_id("deaf");
  deaf.mutable_init()->set_container_id("c");
  for (const char* arg : {"/sh", "-c", "echo ready; while :; do :; done"})
    deaf.mutable_init()->mutable_meta()->add_args(arg);
  deaf.mutable_init()->add_fds(1);
  ASSERT_TRUE(stream.stream->Write(deaf));
  stream.Await("deaf", "ready");
  for (int i = 0; i < 3; ++i) stream.Input("deaf", much, false);
  gateway::ExecMessage kill;
  kill.set_process_id("deaf");
  kill.mutable_signal()->set_name("KILL");
  ASSERT_TRUE(stream.stream->Write(kill));
  stream.Await("deaf");
  EXPECT_EQ(stream.exits["deaf"].code(), 137u);
  EXPECT_THAT(stream.exits["lost"].error().message(), HasSubstr("previously released or not created"));
}

// The job's end does not wait for it; TearDown does for the job's.
TEST_F(ServerContainers, TheEndOfTheJobEndsWhatIsLeft) {
  ASSERT_TRUE(Create(Container("c")).ok());
  Stream stream(*this);
  stream.Init("c", "first", "echo ready; cat");
  stream.Await("first", "ready");
}

TEST_F(ServerContainers, WhatNeedsAnEntitlementIsRefusedWithoutIt) {
  auto host = Container("host");
  host.set_network(pb::HOST);
  EXPECT_EQ(Create(host).error_message(), "network.host is not allowed");
  ASSERT_TRUE(Create(Container("c")).ok());
  Stream stream(*this);
  for (int mode : {1, 2}) {
    gateway::ExecMessage message;
    message.set_process_id(std::to_string(mode));
    message.mutable_init()->set_container_id("c");
    message.mutable_init()->mutable_meta()->add_args("/sh");
    message.mutable_init()->set_security(static_cast<pb::SecurityMode>(mode));
    ASSERT_TRUE(stream.stream->Write(message));
    stream.Await(std::to_string(mode));
  }
  EXPECT_EQ(stream.exits["1"].error().message(), "security.insecure is not allowed");
  EXPECT_EQ(stream.exits["2"].error().message(), "invalid security mode 2");
}

}  // namespace
}  // namespace varve::daemon
