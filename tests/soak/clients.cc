#include "clients.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "api/control.grpc.pb.h"
#include "base/fd.h"
#include "session/testing/fake_client.h"
#include "session/testing/file_service.h"
#include "sys/open.h"

namespace varve::soak {

namespace {

namespace control = moby::buildkit::v1;
using fsutil::types::Packet;
using session::testing::FakeClient;
using session::testing::FakeClientOptions;
using session::testing::FileService;

const std::vector<std::string> kMethods = {"/moby.filesync.v1.FileSync/DiffCopy"};

std::atomic<uint64_t> next_id{0};

std::string NewId(const std::string& kind) {
  return kind + "-" + std::to_string(getpid()) + "-" + std::to_string(++next_id);
}

void WriteContext(const BuildPlan& plan) {
  CHECK(sys::MkdirAll(plan.directory).has_value());
  CHECK(WriteFileAtomically(plan.directory + "/Dockerfile", plan.dockerfile).has_value());
  CHECK(WriteFileAtomically(plan.directory + "/a.txt", plan.content).has_value());
}

// Packets of one file that does not end.
class EndlessFile final : public moby::filesync::v1::FileSync::Service {
 public:
  explicit EndlessFile(std::string dockerfile) : dockerfile_(std::move(dockerfile)) {}

  grpc::Status DiffCopy(grpc::ServerContext* context, FileService::Stream* stream) override {
    const auto name = context->client_metadata().find("dir-name");
    const bool is_context = name != context->client_metadata().end() && name->second == "context";
    Packet packet;
    packet.mutable_stat()->set_path(is_context ? "a.txt" : "Dockerfile");
    packet.mutable_stat()->set_mode(0644);
    packet.mutable_stat()->set_size(is_context ? int64_t{1} << 40 : static_cast<int64_t>(dockerfile_.size()));
    packet.mutable_stat()->set_mod_time(1);
    stream->Write(packet);
    packet.clear_stat();
    stream->Write(packet);  // the end of the list
    while (stream->Read(&packet) && packet.type() == Packet::PACKET_REQ) {
      packet.set_type(Packet::PACKET_DATA);
      packet.set_data(is_context ? std::string(32 << 10, 'x') : dockerfile_);
      while (stream->Write(packet) && is_context) sent += packet.data().size();
      packet.clear_data();
      stream->Write(packet);
    }
    packet.Clear();
    packet.set_type(Packet::PACKET_FIN);
    stream->Write(packet);
    return grpc::Status::OK;
  }
  std::atomic<uint64_t> sent = 0;

 private:
  const std::string dockerfile_;
};

// A client in the middle of a build.
class Builder {
 public:
  Builder(const std::string& address, const BuildPlan& plan, grpc::Service& files)
      : stub_(control::Control::NewStub(Connect(address))) {
    const std::string session = NewId("session");
    client_ = std::make_unique<FakeClient>(
        Connect(address),
        FakeClientOptions{.id = session, .shared_key = plan.shared_key, .services = {&files}, .methods = kMethods});
    request_.set_ref(NewId("build"));
    request_.set_session(session);
    request_.set_frontend("dockerfile.v0");
  }

  // Reads the build's status meanwhile, as every client does.
  grpc::Status Solve() {
    std::jthread status([this] {
      control::StatusRequest request;
      request.set_ref(request_.ref());
      auto stream = stub_->Status(&status_context_, request);
      control::StatusResponse response;
      while (stream->Read(&response)) continue;
      (void)stream->Finish();
    });
    control::SolveResponse response;
    const grpc::Status solved = stub_->Solve(&solve_context_, request_, &response);
    if (!solved.ok()) status_context_.TryCancel();
    return solved;
  }
  void CancelSolve() { solve_context_.TryCancel(); }
  FakeClient& client() { return *client_; }

 private:
  std::unique_ptr<control::Control::Stub> stub_;
  grpc::ClientContext solve_context_, status_context_;
  control::SolveRequest request_;
  std::unique_ptr<FakeClient> client_;  // last: it ends first
};

void Pause(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

using SessionStream = grpc::ClientReaderWriter<control::BytesMessage, control::BytesMessage>;

// A session without a server behind it, which `use` speaks for.
void OpenBare(const std::shared_ptr<grpc::Channel>& channel, const std::string& kind,
              const std::function<void(grpc::ClientContext&, SessionStream&)>& use) {
  grpc::ClientContext context;
  context.AddMetadata("x-docker-expose-session-uuid", NewId(kind));
  auto stub = control::Control::NewStub(channel);
  auto stream = stub->Session(&context);
  use(context, *stream);
  control::BytesMessage unread;
  while (stream->Read(&unread)) continue;
  (void)stream->Finish();
}

// Bytes that are no HTTP/2.
void SendNonsense(grpc::ClientContext& context, SessionStream& stream) {
  control::BytesMessage message;
  message.set_data(std::string(4096, 'x'));
  while (stream.Write(message) && stream.Read(&message)) message.set_data(std::string(4096, 'y'));
  context.TryCancel();
}

void OpenWhole(const std::string& address, uint64_t way) {
  FakeClient client(Connect(address), FakeClientOptions{.id = NewId("session"), .methods = kMethods});
  switch (way) {
    case 0:
      client.Close();
      break;
    case 1:
      client.Kill();
      break;
    case 2:
      Pause(1);
      client.Kill();
      break;
    default:
      break;  // the destructor's way
  }
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

std::string Build(const std::string& address, const BuildPlan& plan) {
  WriteContext(plan);
  FileService files;
  files.Share("context", plan.directory);
  files.Share("dockerfile", plan.directory);
  Builder builder(address, plan, files);
  const grpc::Status solved = builder.Solve();
  return solved.ok() ? "" : solved.error_message();
}

void BuildAndLeave(const std::string& address, const BuildPlan& plan, Leave how, int after_milliseconds) {
  WriteContext(plan);
  FileService files;
  files.Share("context", plan.directory);
  files.Share("dockerfile", plan.directory);
  Builder builder(address, plan, files);
  std::jthread leaving([&] {
    Pause(after_milliseconds);
    switch (how) {
      case Leave::kCancelCall:
        return builder.CancelSolve();
      case Leave::kKillSession:
        return builder.client().Kill();
      case Leave::kCloseSession:
        return builder.client().Close();
    }
  });
  (void)builder.Solve();
}

void UploadAndDie(const std::string& address, const BuildPlan& plan, uint64_t bytes) {
  EndlessFile files(plan.dockerfile);
  Builder builder(address, plan, files);
  std::jthread dying([&](std::stop_token stop) {
    while (files.sent < bytes && !stop.stop_requested()) Pause(1);
    builder.client().Kill();
  });
  (void)builder.Solve();
}

void OpenAndDrop(const std::string& address, const std::shared_ptr<grpc::Channel>& shared, uint64_t number) {
  if (number % 4 == 0) return OpenWhole(address, number / 4 % 4);
  switch (number / 4 % 4) {
    case 0:
      return OpenBare(shared, "nonsense", SendNonsense);
    case 1:
      return OpenBare(shared, "closed", [](grpc::ClientContext&, SessionStream& stream) { stream.WritesDone(); });
    case 2:
      return OpenBare(shared, "killed", [](grpc::ClientContext& context, SessionStream&) { context.TryCancel(); });
    default:
      return OpenBare(shared, "left", [](grpc::ClientContext& context, SessionStream&) {
        Pause(1);
        context.TryCancel();
      });
  }
}

}  // namespace varve::soak
