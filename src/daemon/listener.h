// A listening socket of ours whose connections are given to gRPC.
//
// gRPC can listen by itself, but then a unix socket has the mode that the umask leaves it, for a moment at least,
// a socket that systemd has opened cannot be taken over, and not all clients' TLS is taken (tls_gate.h).
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace varve::daemon {

// Mode 0660, of `owner` (none: this user) and `group` (a name or number; empty: this process's). What a dead daemon
// left there is replaced; kInvalid when somebody listens at the path. The directory is made where it is missing.
Result<Fd> ListenUnix(const std::string& path, std::optional<uid_t> owner, const std::string& group);

// At all addresses of the host, of which it has to be one that can be listened at; empty: all of this machine.
struct TcpListener {
  std::vector<Fd> sockets;
  int port = 0;
};
Result<TcpListener> ListenTcp(const std::string& host_port);

class Acceptor {
 public:
  // `take` gets each connection, non-blocking, from the acceptor's thread.
  Acceptor(Fd listener, std::function<void(Fd)> take);
  ~Acceptor();  // stops listening; connections go on

 private:
  void Run(std::stop_token stop);

  Fd listener_;
  Fd wake_;  // an eventfd
  const std::function<void(Fd)> take_;
  std::jthread thread_;
};

}  // namespace varve::daemon
