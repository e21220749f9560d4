#include "daemon/server.h"

#include <fcntl.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strings.h"
#include "cache/root.h"
#include "cas/blob_store.h"
#include "daemon/bridge_service.h"
#include "daemon/content_service.h"
#include "daemon/control_service.h"
#include "daemon/debug_server.h"
#include "daemon/listener.h"
#include "exec/emulation.h"
#include "job/otlp_export.h"
#include "sys/binfmt.h"

namespace varve::daemon {

namespace {

WorkerFacts FactsOf(const ServerOptions& options) {
  const SolvePolicy& policy = options.policy;
  WorkerFacts facts;
  facts.labels = options.worker_labels;
  facts.devices = policy.devices;
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  facts.hostname = host;
  facts.id = Digest::Of(fmt::format("varve worker\n{}\n{}", facts.hostname, policy.root)).Hex().substr(0, 25);
  const std::string own = oci::HostPlatform().ToString();
  for (const std::string& platform : exec::RunnablePlatforms(sys::ReadBinfmtMisc())) {
    if (platform != own) facts.emulated.insert(platform);
  }
  facts.platforms = options.worker_platforms;
  for (const upkeep::Policy& from : options.worker_policies) {
    moby::buildkit::v1::types::GcPolicy& to = facts.policies.emplace_back();
    to.set_all(from.all);
    to.set_keep_duration(from.keep_duration.count());
    to.set_reserved_space(static_cast<int64_t>(from.limits.reserved));
    to.set_max_used_space(static_cast<int64_t>(from.limits.max_used));
    to.set_min_free_space(static_cast<int64_t>(from.limits.min_free));
    for (const std::string& text : from.filter_texts) to.add_filters(text);
  }
  return facts;
}

// Whoever reaches a tcp address without this may run anything as this user.
Status CheckTcp(const ServerOptions& options) {
  if (options.insecure_tcp) return Ok();
  if (!options.tls) {
    Error error = Invalid("a tcp address needs TLS: whoever reaches it may run anything as this user");
    error.hint = "pass --tlscert, --tlskey and --tlscacert, or --allow-insecure-tcp where nobody else can reach it";
    return error;
  }
  if (options.tls->client_ca.empty()) {
    Error error = Invalid("a tcp address needs --tlscacert: without it, clients are not asked who they are");
    error.hint = "pass --tlscacert, or --allow-insecure-tcp where nobody else can reach it";
    return error;
  }
  return Ok();
}

}  // namespace

Result<ListenAddress> ParseAddress(const std::string& text) {
  ListenAddress address;
  std::string_view rest = text;
  auto take = [&](std::string_view prefix) {
    bool found = rest.starts_with(prefix);
    if (found) rest.remove_prefix(prefix.size());
    return found;
  };
  if (take("unix://")) {
    address.path = std::string(rest);
    if (!address.path.starts_with('/')) return Invalid("address {}: the path of a socket is absolute", text);
    return address;
  }
  if (take("tcp://")) {
    address.kind = ListenAddress::Kind::kTcp;
    address.host_port = std::string(rest);
    size_t colon = rest.rfind(':');
    auto port = colon == rest.npos ? std::nullopt : ParseInt(rest.substr(colon + 1));
    if (!port || *port < 0 || *port > 65535) return Invalid("address {}: tcp://HOST:PORT expected", text);
    return address;
  }
  if (take("fd://")) {
    address.kind = ListenAddress::Kind::kDescriptor;
    auto number = rest.empty() ? std::optional<int64_t>(3) : ParseInt(rest);
    if (!number || *number < 3) return Invalid("address {}: fd://N with N from 3 on expected", text);
    address.descriptor = static_cast<int>(*number);
    return address;
  }
  Error error = Invalid("address {}: unix://, tcp:// or fd:// expected", text);
  error.hint = "for example unix:///run/varve/varved.sock";
  return error;
}

struct Server::Impl {
  explicit Impl(ServerOptions server_options)
      : options(std::move(server_options)), worker(FactsOf(options)), sessions(options.sessions),
        contexts(options.policy.root), jobs(options.jobs), records(options.policy.root, options.records),
        telemetry(options.otlp, job::SendOtlp),
        control(jobs, sessions, contexts, records, metrics, telemetry, options.policy, worker),
        bridge(CallersOf(jobs), worker) {}

  const ServerOptions options;
  const WorkerFacts worker;
  session::Sessions sessions;
  session::Contexts contexts;
  Jobs jobs;
  BuildRecords records;
  Metrics metrics;
  Telemetry telemetry;
  ControlService control;
  BridgeService bridge;
  std::unique_ptr<ContentService> content;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<TlsGate> gate;  // of tcp
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  std::vector<std::string> addresses;
  std::vector<std::string> sockets;  // to be removed at the end
  std::unique_ptr<DebugServer> debug;

  DebugPages Pages() {
    return {.unhealthy = [this] { return std::string(jobs.draining() ? "draining: no new builds are taken" : ""); },
            .metrics =
                [this] {
                  const DaemonFacts facts{jobs.running(), sessions.count(), jobs.draining()};
                  return report::Render(metrics.Collect(facts, options.storage ? options.storage() : std::nullopt));
                },
            .requests =
                [this] {
                  std::string text = fmt::format("{} sessions, {} builds\n", sessions.count(), jobs.running());
                  for (const std::string& ref : jobs.refs()) text += ref + "\n";
                  return text;
                }};
  }

  void Serve(Fd connection) { grpc::AddInsecureChannelFromFd(server.get(), connection.Release()); }
  void Accept(Fd listener) {
    acceptors.push_back(
        std::make_unique<Acceptor>(std::move(listener), [this](Fd connection) { Serve(std::move(connection)); }));
  }
  Status AcceptTcp(const std::string& host_port) {
    TRY_ASSIGN(TcpListener listener, ListenTcp(host_port));
    if (options.tls && !gate) {
      TRY_ASSIGN(gate, TlsGate::Open(*options.tls, [this](Fd connection) { Serve(std::move(connection)); }));
    }
    for (Fd& socket : listener.sockets) {
      if (!gate) Accept(std::move(socket));
      else
        acceptors.push_back(std::make_unique<Acceptor>(std::move(socket),
                                                       [this](Fd connection) { gate->Admit(std::move(connection)); }));
    }
    addresses.push_back(fmt::format("tcp://{}:{}", host_port.substr(0, host_port.rfind(':')), listener.port));
    return Ok();
  }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  const ServerOptions& given = impl->options;
  if (given.addresses.empty()) return Invalid("no address to listen at");
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(given.message_bytes);
  builder.SetMaxSendMessageSize(given.message_bytes);
  // Clients' connections stay idle for as long as a step runs, and ping meanwhile as often as they like.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.RegisterService(&impl->control);
  builder.RegisterService(&impl->bridge);
  TRY(cache::PrepareRoot(given.policy.root));
  TRY_ASSIGN(auto blobs, cas::OpenDiskStore(given.policy.root));
  impl->content = std::make_unique<ContentService>(
      std::move(blobs), [&records = impl->records](const Digest& digest) { return records.Document(digest); });
  builder.RegisterService(impl->content.get());
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr) return Internal("gRPC's server does not start");
  for (const ListenAddress& address : given.addresses) {
    if (address.kind == ListenAddress::Kind::kTcp) {
      TRY(CheckTcp(given));
      TRY(impl->AcceptTcp(address.host_port));
    } else if (address.kind == ListenAddress::Kind::kUnix) {
      TRY_ASSIGN(Fd listener, ListenUnix(address.path, given.owner, given.group));
      impl->sockets.push_back(address.path);
      impl->addresses.push_back("unix://" + address.path);
      impl->Accept(std::move(listener));
    } else if (address.kind == ListenAddress::Kind::kDescriptor) {
      const int flags = fcntl(address.descriptor, F_GETFL);
      if (flags < 0)
        return Invalid("descriptor {} is not open: was this started by its systemd socket?", address.descriptor);
      fcntl(address.descriptor, F_SETFL, flags | O_NONBLOCK);
      fcntl(address.descriptor, F_SETFD, FD_CLOEXEC);
      impl->addresses.push_back(fmt::format("fd://{}", address.descriptor));
      impl->Accept(Fd(address.descriptor));
    }
  }
  if (!given.debug_address.empty()) {
    TRY_ASSIGN(impl->debug, DebugServer::Start(given.debug_address, impl->Pages()));
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::~Server() {
  impl_->debug.reset();
  impl_->acceptors.clear();
  if (impl_->gate) impl_->gate->Close();
  for (const std::string& path : impl_->sockets) unlink(path.c_str());
  impl_->jobs.Drain();
  impl_->jobs.CancelAll();
  impl_->sessions.Close("the daemon went down");
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
  impl_->server->Wait();
}

const std::vector<std::string>& Server::addresses() const { return impl_->addresses; }
std::string Server::debug_address() const { return impl_->debug ? impl_->debug->address() : ""; }
size_t Server::running_builds() { return impl_->jobs.running(); }
size_t Server::open_sessions() { return impl_->sessions.count(); }

void Server::Drain(std::chrono::milliseconds grace) {
  impl_->jobs.Drain();
  // What balances load asks for this, and sends its builds elsewhere.
  impl_->server->GetHealthCheckService()->SetServingStatus(false);
  if (!impl_->jobs.AwaitIdle(grace)) {
    LOG_WARN("{} builds have not ended in time and are cancelled", impl_->jobs.running());
    impl_->jobs.CancelAll();
    impl_->jobs.AwaitIdle(std::chrono::seconds(20));
  }
}

}  // namespace varve::daemon
