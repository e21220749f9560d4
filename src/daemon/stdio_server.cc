#include "daemon/stdio_server.h"

#include <fcntl.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>

#include <cerrno>

namespace varve::daemon {

Result<std::unique_ptr<StdioServer>> StdioServer::Start(grpc::Service& service, int message_bytes,
                                                        sandbox::Streams& process) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return ErrnoError(errno, "make a socket pair");
  Fd own(ends[0]);
  process.in = Fd(ends[1]);
  process.out = Fd(fcntl(ends[1], F_DUPFD_CLOEXEC, 0));
  if (!process.out) return ErrnoError(errno, "duplicate a socket");
  if (fcntl(own.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError(errno, "make a socket non-blocking");

  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(message_bytes);
  builder.SetMaxSendMessageSize(message_bytes);
  // One connection: as many threads as calls, and one that waits for the next.
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return Unavailable("cannot start a gRPC server");
  grpc::AddInsecureChannelFromFd(server.get(), own.Release());
  return std::unique_ptr<StdioServer>(new StdioServer(std::move(server)));
}

StdioServer::~StdioServer() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

}  // namespace varve::daemon
