// A daemon with nothing but sessions, on a unix socket in a directory of its own.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "session/sessions.h"

namespace varve::session::testing {

class FakeDaemon {
 public:
  explicit FakeDaemon(SessionLimits limits = {});
  ~FakeDaemon();

  Sessions& sessions() { return *sessions_; }
  // A connection of its own, as every client has.
  std::shared_ptr<grpc::Channel> Connect();

 private:
  class Control;
  std::string directory_;
  std::unique_ptr<Sessions> sessions_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace varve::session::testing
