// The ssh agent of a client as a socket on this machine, for RUN --mount=type=ssh and git.
//
//   TRY_ASSIGN(auto agent, ForwardedAgent::Start(session, "default", directory, stop));
//   … a step with SSH_AUTH_SOCK=agent->socket() …
//
// Every connection to the socket is a call of its own, with two threads while it lasts.
#pragma once

#include <list>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/result.h"
#include "session/session.h"

namespace varve::session {

class ForwardedAgent {
 public:
  // Connections at once; more wait.
  static constexpr size_t kMaxConnections = 64;

  // Makes <directory>/<a name of its own>, mode 0600. kInvalid, in the client's words, when it offers no agent of that id.
  // An empty id is "default". The session must outlive neither the agent nor the step: connections break when it ends.
  static Result<std::unique_ptr<ForwardedAgent>> Start(std::shared_ptr<Session> session, const std::string& id,
                                                       const std::string& directory, std::stop_token stop);
  // Closes the socket and all connections, and waits for their threads.
  ~ForwardedAgent();
  ForwardedAgent(const ForwardedAgent&) = delete;
  ForwardedAgent& operator=(const ForwardedAgent&) = delete;

  const std::string& id() const { return id_; }
  const std::string& socket() const { return path_; }

 private:
  struct Connection;
  ForwardedAgent(std::shared_ptr<Session> session, std::string id, std::string path, Fd listener);
  void Accept(std::stop_token stop);

  const std::shared_ptr<Session> session_;
  const std::string id_;
  const std::string path_;
  Fd listener_;
  std::list<std::unique_ptr<Connection>> connections_;  // the accepting thread's alone
  std::jthread thread_;                                 // last: it uses the others
};

}  // namespace varve::session
