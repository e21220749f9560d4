// The ssh agent of a client as a socket on this machine, for RUN --mount=type=ssh and git.
//
//   TRY_ASSIGN(auto agent, ForwardedAgent::Start(session, "default", directory, stop));
//   … a step with SSH_AUTH_SOCK=agent->socket() …
//
// Every connection to the socket is a call of its own, with two threads while it lasts.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "session/session.h"
#include "sys/socket_server.h"

namespace varve::session {

class ForwardedAgent {
 public:
  // Makes <directory>/<a name of its own>, mode 0600. kInvalid, in the client's words, when it offers no agent of that
  // id. An empty id is "default". The session must outlive neither the agent nor the step: connections break when it
  // ends.
  static Result<std::unique_ptr<ForwardedAgent>> Start(std::shared_ptr<Session> session, const std::string& id,
                                                       const std::string& directory, std::stop_token stop);
  const std::string& id() const { return id_; }
  const std::string& socket() const { return server_->path(); }

 private:
  ForwardedAgent(std::string id, std::unique_ptr<sys::SocketServer> server)
      : id_(std::move(id)), server_(std::move(server)) {}

  const std::string id_;
  const std::unique_ptr<sys::SocketServer> server_;
};

}  // namespace varve::session
