#include "session/testing/fake_client.h"

#include <fcntl.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>

#include <atomic>

#include "api/health.grpc.pb.h"

namespace varve::session::testing {
namespace {

using moby::buildkit::v1::BytesMessage;
using ClientStream = grpc::ClientReaderWriter<BytesMessage, BytesMessage>;

class ClientBytes final : public MessageBytes<BytesMessage, ClientStream> {
 public:
  ClientBytes(grpc::ClientContext& context, std::unique_ptr<ClientStream> stream)
      : MessageBytes(*stream), context_(context), owned_(std::move(stream)) {}
  void Cancel() override {
    if (!closing_) context_.TryCancel();
  }
  void Close() override { stream_.WritesDone(); }
  void BeginClose() { closing_ = true; }
  ClientStream& stream() { return stream_; }

 private:
  grpc::ClientContext& context_;
  std::unique_ptr<ClientStream> owned_;
  std::atomic<bool> closing_ = false;
};

class Healthy final : public grpc::health::v1::Health::Service {
  grpc::Status Check(grpc::ServerContext*, const grpc::health::v1::HealthCheckRequest*,
                     grpc::health::v1::HealthCheckResponse* response) override {
    response->set_status(grpc::health::v1::HealthCheckResponse::SERVING);
    return grpc::Status::OK;
  }
};

class Mute final : public grpc::health::v1::Health::Service {
  grpc::Status Check(grpc::ServerContext*, const grpc::health::v1::HealthCheckRequest*,
                     grpc::health::v1::HealthCheckResponse*) override {
    return {grpc::StatusCode::INTERNAL, "not well"};
  }
};

}  // namespace

FakeClient::FakeClient(std::shared_ptr<grpc::Channel> daemon, FakeClientOptions options)
    : stub_(moby::buildkit::v1::Control::NewStub(std::move(daemon))) {
  if (options.answers_health) {
    health_ = std::make_unique<Healthy>();
  } else {
    health_ = std::make_unique<Mute>();
  }
  grpc::EnableDefaultHealthCheckService(false);
  grpc::ServerBuilder builder;
  builder.RegisterService(health_.get());
  for (grpc::Service* service : options.services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(16 << 20);
  server_ = builder.BuildAndStart();

  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  CHECK(::fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
  fd_ = Fd(ends[0]);
  grpc::AddInsecureChannelFromFd(server_.get(), ends[1]);

  context_.AddMetadata("x-docker-expose-session-uuid", options.id);
  context_.AddMetadata("x-docker-expose-session-name", options.name);
  context_.AddMetadata("x-docker-expose-session-sharedkey", options.shared_key);
  for (const std::string& method : options.methods) {
    context_.AddMetadata("x-docker-expose-session-grpc-method", method);
  }
  if (options.health_milliseconds > 0) {
    context_.AddMetadata("x-buildkit-session-health-custom-timeout", std::to_string(options.health_milliseconds));
  }
  auto bytes = std::make_unique<ClientBytes>(context_, stub_->Session(&context_));
  ClientStream& stream = bytes->stream();
  bytes_ = std::move(bytes);
  thread_ = std::jthread([this, &stream] {
    MoveBytes(fd_.get(), *bytes_);
    status_ = stream.Finish();
  });
}

FakeClient::~FakeClient() {
  Kill();
  Wait();
  server_->Shutdown(std::chrono::system_clock::now());
}

void FakeClient::Close() {
  // As Go's client does: no more bytes from this side, then the end.
  static_cast<ClientBytes&>(*bytes_).BeginClose();
  ::shutdown(fd_.get(), SHUT_RD);
}

void FakeClient::Kill() { context_.TryCancel(); }

grpc::Status FakeClient::Wait() {
  if (thread_.joinable()) thread_.join();
  return status_;
}

}  // namespace varve::session::testing
