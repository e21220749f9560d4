// varved: varve as a BuildKit daemon.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "cache/root.h"
#include "daemon/buildctl.h"
#include "daemon/collector.h"
#include "daemon/settings.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/rootless.h"
#include "job/stop_signals.h"
#include "job/version.h"
#include "sys/namespace.h"
#include "sys/open.h"

namespace varve::daemon {

namespace {

int Fail(const Error& error) {
  job::PrintCommandError(error);
  return job::ExitCodeOf(error);
}

int Serve(const std::string& name, const Flags& flags) {
  auto settings = ReadSettings(name, flags);
  if (!settings) {
    job::PrintCommandError(settings.error());
    return job::kUsage;
  }
  SetLogFormat(settings->log_format);
  SetLogLevel(settings->log_level);
  for (const std::string& warning : settings->warnings) LOG_WARN("{}", warning);
  ServerOptions& options = settings->server;
  // Where the steps look for them.
  if (settings->device_directories) setenv("VARVE_CDI_DIRS", Join(*settings->device_directories, ":").c_str(), 1);
  // Before the first thread, as in `varve build`: mounts go when this process goes.
  if (sys::CanMount()) {
    if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return Fail(entered.error());
  }
  job::StopSignals signals;
  const std::string root = options.policy.root;
  if (Status prepared = cache::PrepareRoot(root); !prepared) return Fail(prepared.error());
  for (const auto& [path, text] : settings->files) {
    Status written = sys::MkdirAll(path.substr(0, path.rfind('/')));
    if (written) written = WriteFileAtomically(path, text);
    if (!written) return Fail(written.error());
  }
  auto policies = ReadPolicies(root, settings->gc_policies);
  if (!policies) return Fail(policies.error());
  options.worker_policies = policies->policies;
  std::optional<Collector> collector;
  if (settings->collect) {
    collector.emplace(root,
                      Collector::Options{.measure = !options.debug_address.empty(), .policies = settings->gc_policies});
    options.storage = [&collector] { return collector->storage(); };
  }
  auto server = Server::Start(std::move(options));
  if (!server) return Fail(server.error());
  LOG_INFO("varved {} listens at {}", job::kVersion, Join((*server)->addresses(), ", "));
  if (!(*server)->debug_address().empty()) {
    LOG_INFO("metrics are at http://{}/metrics", (*server)->debug_address());
  }
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait(lock, signals.token(), [] { return false; });
  LOG_INFO("varved ends: {} builds run", (*server)->running_builds());
  (*server)->Drain(std::chrono::seconds(flags.grace_seconds));
  return job::kSuccess;
}

}  // namespace

int Main(const std::string& name, int argc, char** argv) {
  CLI::App app("varve as a BuildKit daemon: docker buildx, buildctl and bake build with its engine and cache", name);
  Flags flags;
  // Buildx takes these four words apart.
  app.set_version_flag("-v,--version", fmt::format("{} {} {} {}", name, kPackage, kBuildkitVersion, kRevision));
  app.add_option("--addr", flags.addresses, "Where to listen: unix:///path, tcp://host:port, fd://; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--root", flags.root, "State directory");
  app.add_option("--group", flags.group, "Group whose members may connect to unix sockets");
  app.add_option("--tlscacert", flags.tls_ca, "Authority of the clients' certificates");
  app.add_option("--tlscert", flags.tls_certificate, "Certificate of the daemon");
  app.add_option("--tlskey", flags.tls_key, "Its key");
  app.add_flag("--allow-insecure-tcp", flags.insecure_tcp, "Serve tcp without asking clients for certificates");
  app.add_option("--allow-insecure-entitlement", flags.entitlements,
                 "What builds may be granted: network.host, security.insecure, device")
      ->allow_extra_args(false);
  app.add_option("--drain", flags.grace_seconds, "Seconds that running builds get after SIGTERM");
  app.add_option("--debugaddr", flags.debug_address, "Serve /metrics and /healthz at this HOST:PORT");
  app.add_option("--log-format", flags.log_format, "How the log on stderr looks: text or json");
  app.add_flag("--debug", flags.debug, "Log more of what happens");
  app.add_flag("--trace", flags.trace, "The same");
  app.add_option("--config", flags.config, "A buildkitd.toml; flags win over it");
  app.add_option("--oci-worker-labels", flags.labels, "Labels of the worker, NAME=VALUE; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--oci-worker-platform", flags.platforms, "Platforms that the worker announces; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--oci-worker-gc-keepstorage", flags.keep_storage, "What the state root may keep, as 10GB or 10%");
  app.add_flag("--oci-worker-gc", flags.collect, "Keep the state root within its budget, on a timer (the default)");
  app.add_option("--oci-max-parallelism", flags.parallelism, "How many steps of all builds run at once; 0 is no limit");
  app.add_flag("--cdi-disabled", flags.no_devices, "No devices for builds");
  app.add_option("--cdi-spec-dir", flags.device_directories, "Where devices are described (CDI); may be repeated")
      ->allow_extra_args(false);
  // There is one worker here, and it keeps its layers as it does.
  for (const char* taken :
       {"--oci-worker", "--containerd-worker", "--oci-worker-snapshotter", "--oci-worker-net", "--otel-socket-path"}) {
    app.add_option(taken, flags.without_effect, "Taken as buildkitd takes it, without effect");
  }
  CLI11_PARSE(app, argc, argv);
  return Serve(name, flags);
}

}  // namespace varve::daemon

int main(int argc, char** argv) {
  using namespace varve;
  const std::string path = argc > 0 ? argv[0] : "varved";
  const std::string name = path.substr(path.rfind('/') + 1);
  std::signal(SIGPIPE, SIG_IGN);
  if (name == "buildctl") return daemon::BuildctlMain(argc, argv);
  mallopt(M_ARENA_MAX, 8);
  if (Status rootless = job::BecomeRootless(); !rootless) {
    job::ToStderr("varved: " + rootless.error().ToString() + "\n");
    return job::ExitCodeOf(rootless.error());
  }
  return daemon::Main(name, argc, argv);
}
