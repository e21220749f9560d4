// The daemon: its services behind its listeners.
//
//   TRY_ASSIGN(auto server, Server::Start(options));
//   … a signal …
//   server->Drain(grace);      // no new builds; those that run may end
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/build_records.h"
#include "daemon/capabilities.h"
#include "daemon/jobs.h"
#include "daemon/tls_gate.h"
#include "report/otlp_settings.h"
#include "session/sessions.h"
#include "upkeep/policy.h"

namespace varve::daemon {

// unix:///path, tcp://host:port, fd://N (of systemd: LISTEN_FDS).
struct ListenAddress {
  enum class Kind { kUnix, kTcp, kDescriptor };
  Kind kind = Kind::kUnix;
  std::string path;  // kUnix: absolute
  std::string host_port;
  int descriptor = -1;
};
Result<ListenAddress> ParseAddress(const std::string& text);

struct ServerOptions {
  std::vector<ListenAddress> addresses;
  std::optional<TlsFiles> tls;  // of the tcp addresses
  bool insecure_tcp = false;    // tcp without TLS, or without client certificates
  std::string group;            // of the sockets: its members may build; empty: root alone
  std::optional<uid_t> owner;   // of the sockets; none: this user
  std::map<std::string, std::string> worker_labels;
  std::vector<std::string> worker_platforms;    // that are announced; empty: what this machine runs
  std::vector<upkeep::Policy> worker_policies;  // that are shown to clients
  SolvePolicy policy;
  session::SessionLimits sessions;
  JobLimits jobs;
  RecordLimits records;
  int message_bytes = 16 << 20;
  std::string debug_address;                                // of /metrics and /healthz (debug_server.h); empty: none
  std::function<std::optional<report::Storage>()> storage;  // for /metrics; may be empty
  report::OtlpSettings otlp;                                // where builds are sent to
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> Start(ServerOptions options);
  // Ends at once what Drain left.
  ~Server();

  // "unix:///run/varve/varved.sock", … with the real port of port 0.
  const std::vector<std::string>& addresses() const;
  std::string debug_address() const;  // HOST:PORT; empty: there is none
  // Refuses new builds, gives those that run `grace` to end, cancels the rest, and closes the listeners.
  void Drain(std::chrono::milliseconds grace);
  size_t running_builds();
  size_t open_sessions();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::daemon
