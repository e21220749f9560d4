// A client of the daemon in this process, as docker's is from outside: it opens Control.Session and serves
// gRPC services inside of it.
//
//   FakeClient client(channel, {.id = "s1", .services = {&secrets}});   // channel: to the daemon
//   … daemon calls secrets …
//   client.Close();                                                     // or the destructor
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/control.grpc.pb.h"
#include "base/fd.h"
#include "session/byte_pipe.h"

namespace varve::session::testing {

struct FakeClientOptions {
  std::string id = "session-1";
  std::string name = "test";
  std::string shared_key = "key";
  std::vector<grpc::Service*> services = {};  // must outlive the client
  // "/package.service/method", as the client announces them.
  std::vector<std::string> methods = {};
  int health_milliseconds = 0;
  bool answers_health = true;
};

class FakeClient {
 public:
  FakeClient(std::shared_ptr<grpc::Channel> daemon, FakeClientOptions options);
  ~FakeClient();

  // Ends the session in good order.
  void Close();
  // As if the process was killed.
  void Kill();
  // What Control.Session ended with. Waits for it.
  grpc::Status Wait();

 private:
  grpc::ClientContext context_;
  std::unique_ptr<moby::buildkit::v1::Control::Stub> stub_;
  std::unique_ptr<grpc::Service> health_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<ByteStream> bytes_;
  Fd fd_;
  grpc::Status status_;
  std::jthread thread_;
};

}  // namespace varve::session::testing
