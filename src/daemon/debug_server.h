// What the daemon shows to those who operate it, over plain HTTP at --debugaddr:
//   /metrics         Prometheus' text format
//   /healthz         200 "ok"; 503 while the daemon drains, or when it cannot work
//   /debug/requests  the builds that run
//   /debug/gc        gives memory that is free back to the system, and says how much is in use
//
// Nothing there changes a build, and names of builds are all that it tells of them; who may reach the address is the
// operator's to decide.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gha_server/http_daemon.h"

namespace varve::daemon {

// Called from the threads of connections.
struct DebugPages {
  std::function<std::string()> unhealthy;  // why; empty: it is well
  std::function<std::string()> metrics;
  std::function<std::string()> requests;
};

class DebugServer {
 public:
  // `address`: HOST:PORT as buildkitd takes it: a numeric host, "localhost", or none for all of this machine's.
  static Result<std::unique_ptr<DebugServer>> Start(const std::string& address, DebugPages pages);
  std::string address() const { return http_->Address(); }  // with the real port

 private:
  explicit DebugServer(DebugPages pages) : pages_(std::move(pages)) {}
  gha_server::HttpReply Reply(const gha_server::HttpRequest& request) const;

  const DebugPages pages_;
  std::unique_ptr<gha_server::HttpDaemon> http_;  // last: its threads use the others
};

}  // namespace varve::daemon
