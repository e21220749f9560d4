#include "session/testing/fake_daemon.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/server_builder.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/control.grpc.pb.h"

namespace varve::session::testing {

class FakeDaemon::Control final : public moby::buildkit::v1::Control::Service {
 public:
  explicit Control(Sessions& sessions) : sessions_(sessions) {}
  grpc::Status Session(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<moby::buildkit::v1::BytesMessage, moby::buildkit::v1::BytesMessage>* stream) override {
    return sessions_.Serve(*context, *stream);
  }

 private:
  Sessions& sessions_;
};

FakeDaemon::FakeDaemon(SessionLimits limits)
    : sessions_(std::make_unique<Sessions>(limits)), control_(std::make_unique<Control>(*sessions_)) {
  // gRPC stays up between tests, as it does in a daemon: going down, it may wait 10 s for a thread of its own.
  static const bool kept_up = (grpc_init(), true);
  CHECK(kept_up);
  char name[] = "/tmp/varve-sessions-XXXXXX";
  CHECK(::mkdtemp(name) != nullptr);
  directory_ = name;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + directory_ + "/socket", grpc::InsecureServerCredentials());
  builder.RegisterService(control_.get());
  builder.SetMaxReceiveMessageSize(16 << 20);
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr);
}

FakeDaemon::~FakeDaemon() {
  sessions_->Close("the test is over");
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
  sessions_.reset();
  ::unlink((directory_ + "/socket").c_str());
  ::rmdir(directory_.c_str());
}

std::shared_ptr<grpc::Channel> FakeDaemon::Connect() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(16 << 20);
  return grpc::CreateCustomChannel("unix:" + directory_ + "/socket", grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace varve::session::testing
