// A unix socket and what answers at it, a thread for each connection: an agent's socket for steps, a client's agent.
//
//   TRY_ASSIGN(auto server, SocketServer::Listen(path, {.mode = 0600}, [](int connection, std::stop_token) { … }));
//
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace varve::sys {

class SocketServer {
 public:
  // Connections at once; more wait.
  static constexpr size_t kMaxConnections = 64;

  struct Access {
    uid_t uid = 0;
    gid_t gid = 0;
    mode_t mode = 0600;
  };
  // The connection is closed when it returns. Asked to stop, it finds the connection shut down.
  using Handler = std::function<void(int connection, std::stop_token stop)>;

  // Makes `path`, which nothing may be at. Paths longer than an address of a socket are fine.
  static Result<std::unique_ptr<SocketServer>> Listen(const std::string& path, const Access& access, Handler handler);
  // Removes the socket, ends all connections, and waits for their threads.
  virtual ~SocketServer() = default;
  virtual const std::string& path() const = 0;
};

// The other end, for a socket with a path of any length.
Result<Fd> ConnectTo(const std::string& path);

// A handler: the connection becomes one to the socket `to`, until that one ends it.
void RelayTo(const std::string& to, int connection, std::stop_token stop);

}  // namespace varve::sys
