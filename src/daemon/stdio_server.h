// A gRPC service for one process, which makes its calls over its own standard input and output.
//
//   sandbox::Streams streams;
//   TRY_ASSIGN(auto server, StdioServer::Start(service, limit, streams));
//   Run(program, std::move(streams));   // its calls are answered meanwhile
//   server.reset();                     // no call is under way any more
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "base/result.h"
#include "sandbox/container.h"

namespace varve::daemon {

class StdioServer {
 public:
  // `service` outlives the server. `process` gets the ends that are the process's; once all copies of them are closed,
  // calls that still run see that they were cancelled.
  static Result<std::unique_ptr<StdioServer>> Start(grpc::Service& service, int message_bytes,
                                                    sandbox::Streams& process);
  // Closes the connection and waits for the calls' ends.
  ~StdioServer();
  StdioServer(const StdioServer&) = delete;
  StdioServer& operator=(const StdioServer&) = delete;

 private:
  explicit StdioServer(std::unique_ptr<grpc::Server> server) : server_(std::move(server)) {}
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace varve::daemon
