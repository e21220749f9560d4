// varved: varve as a BuildKit daemon.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "cache/root.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/rootless.h"
#include "cli/stop_signals.h"
#include "cli/version.h"
#include "daemon/buildctl.h"
#include "daemon/collector.h"
#include "daemon/server.h"
#include "sys/namespace.h"
#include "sys/open.h"

namespace varve::daemon {

namespace {

struct Flags {
  std::vector<std::string> addresses;
  std::string root;
  std::string group;
  std::string tls_ca, tls_certificate, tls_key;
  bool insecure_tcp = false;
  std::vector<std::string> entitlements;
  bool debug = false;
  int grace_seconds = 60;
};

constexpr std::chrono::minutes kCollectEvery{1};

// Under the name of buildkitd, its places: buildx's drivers look there, and mount a volume on the one of the state.
std::string DefaultAddress(const std::string& name) {
  if (name == "buildkitd") return "unix:///run/buildkit/buildkitd.sock";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (sys::InUserNamespace() && runtime != nullptr && *runtime != '\0') {
    return fmt::format("unix://{}/varve/varved.sock", runtime);
  }
  return "unix:///run/varve/varved.sock";
}

Result<ServerOptions> OptionsOf(const std::string& name, const Flags& flags) {
  ServerOptions options;
  std::vector<std::string> addresses = flags.addresses;
  if (addresses.empty()) addresses.push_back(DefaultAddress(name));
  for (const std::string& text : addresses) {
    TRY_ASSIGN(auto address, ParseAddress(text));
    options.addresses.push_back(std::move(address));
  }
  options.insecure_tcp = flags.insecure_tcp;
  options.group = flags.group;
  options.policy.root = cache::RootDirectory(flags.root.empty() && name == "buildkitd" ? "/var/lib/buildkit" : flags.root);
  for (const std::string& entitlement : flags.entitlements) {
    if (entitlement != "network.host" && entitlement != "security.insecure" && entitlement != "device") {
      return Invalid("unknown entitlement {}: network.host, security.insecure or device expected", entitlement);
    }
    options.policy.entitlements.insert(entitlement);
  }
  if (flags.tls_certificate.empty() != flags.tls_key.empty()) {
    return Invalid("--tlscert and --tlskey belong together");
  }
  if (!flags.tls_certificate.empty()) {
    options.tls = TlsFiles{flags.tls_certificate, flags.tls_key, flags.tls_ca};
  }
  return options;
}

int Fail(const Error& error) {
  cli::PrintCommandError(error);
  return cli::ExitCodeOf(error);
}

int Serve(const std::string& name, const Flags& flags) {
  auto options = OptionsOf(name, flags);
  if (!options) {
    cli::PrintCommandError(options.error());
    return cli::kUsage;
  }
  // Before the first thread, as in `varve build`: mounts go when this process goes.
  if (sys::CanMount()) {
    if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return Fail(entered.error());
  }
  cli::StopSignals signals;
  if (Status prepared = cache::PrepareRoot(options->policy.root); !prepared) return Fail(prepared.error());
  Collector collector(options->policy.root, kCollectEvery);
  auto server = Server::Start(std::move(*options));
  if (!server) return Fail(server.error());
  cli::ToStderr(fmt::format("varved {} listens at {}\n", cli::kVersion, Join((*server)->addresses(), ", ")));
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait(lock, signals.token(), [] { return false; });
  cli::ToStderr(fmt::format("varved ends: {} builds run\n", (*server)->running_builds()));
  (*server)->Drain(std::chrono::seconds(flags.grace_seconds));
  return cli::kSuccess;
}

}  // namespace

int Main(const std::string& name, int argc, char** argv) {
  CLI::App app("varve as a BuildKit daemon: docker buildx, buildctl and bake build with its engine and cache",
               name);
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
  app.add_flag("--debug", flags.debug, "Say what happens");
  CLI11_PARSE(app, argc, argv);
  if (flags.debug) SetLogLevel(LogLevel::kDebug);
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
  if (Status rootless = cli::BecomeRootless(); !rootless) {
    cli::ToStderr("varved: " + rootless.error().ToString() + "\n");
    return cli::ExitCodeOf(rootless.error());
  }
  return daemon::Main(name, argc, argv);
}
