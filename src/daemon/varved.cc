// varved: varve as a BuildKit daemon.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>

#include "base/log.h"
#include "base/log_format.h"
#include "base/strings.h"
#include "cache/root.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/registries.h"
#include "cli/rootless.h"
#include "cli/stop_signals.h"
#include "cli/version.h"
#include "daemon/buildctl.h"
#include "daemon/collector.h"
#include "daemon/server.h"
#include "daemon/toml_config.h"
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
  bool debug = false, trace = false;
  std::string log_format = "text";
  std::string debug_address;
  int grace_seconds = 60;
  std::string config;
  std::vector<std::string> labels;
  bool collect = true;
  std::string without_effect;
  std::vector<std::string> unused;  // keys of the file
};

constexpr char kConfigOfBuildkitd[] = "/etc/buildkit/buildkitd.toml";
constexpr char kProvenanceOfBuildkitd[] = "/etc/buildkit/provenance.d";

// Under the name of buildkitd, its places: buildx's drivers look there, and mount a volume on the one of the state.
std::string DefaultAddress(const std::string& name) {
  if (name == "buildkitd") return "unix:///run/buildkit/buildkitd.sock";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (sys::InUserNamespace() && runtime != nullptr && *runtime != '\0') {
    return fmt::format("unix://{}/varve/varved.sock", runtime);
  }
  return "unix:///run/varve/varved.sock";
}

// --config, or buildkitd's own file under its name. Without one: nothing is configured.
Result<TomlConfig> ReadConfig(const std::string& name, const Flags& flags) {
  if (!flags.config.empty()) return LoadTomlConfig(flags.config);
  if (name != "buildkitd") return TomlConfig();
  auto config = LoadTomlConfig(kConfigOfBuildkitd);
  if (!config && config.error().code == Code::kNotFound) return TomlConfig();
  return config;
}

Result<std::map<std::string, std::string>> WorkerLabels(const Flags& flags, const TomlConfig& config) {
  std::map<std::string, std::string> labels = config.labels;
  for (const std::string& label : flags.labels) {
    const size_t equals = label.find('=');
    if (equals == label.npos) return Invalid("--oci-worker-labels {}: NAME=VALUE expected", label);
    labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  return labels;
}

// What flags say, then what the file says, then the defaults.
void FillFrom(const TomlConfig& config, Flags& flags) {
  if (flags.addresses.empty()) flags.addresses = config.addresses;
  if (flags.root.empty()) flags.root = config.root;
  if (flags.tls_ca.empty()) flags.tls_ca = config.tls_ca;
  if (flags.tls_certificate.empty()) flags.tls_certificate = config.tls_certificate;
  if (flags.tls_key.empty()) flags.tls_key = config.tls_key;
  if (flags.entitlements.empty()) flags.entitlements = config.entitlements;
  flags.debug = flags.debug || config.debug;
  flags.collect = flags.collect && config.collect;
  flags.unused = config.unused;
}

Result<ServerOptions> OptionsOf(const std::string& name, Flags& flags) {
  ServerOptions options;
  TRY_ASSIGN(const TomlConfig config, ReadConfig(name, flags));
  FillFrom(config, flags);
  TRY_ASSIGN(options.worker_labels, WorkerLabels(flags, config));
  std::vector<std::string> addresses = flags.addresses;
  if (addresses.empty()) addresses.push_back(DefaultAddress(name));
  for (const std::string& text : addresses) {
    TRY_ASSIGN(auto address, ParseAddress(text));
    options.addresses.push_back(std::move(address));
  }
  options.insecure_tcp = flags.insecure_tcp;
  options.group = flags.group;
  options.policy.root = cache::RootDirectory(flags.root.empty() && name == "buildkitd" ? "/var/lib/buildkit" : flags.root);
  std::string provenance = config.provenance_directory;
  if (provenance.empty() && name == "buildkitd") provenance = kProvenanceOfBuildkitd;
  if (!provenance.empty()) {
    TRY_ASSIGN(options.policy.provenance_environment, ReadProvenanceEnvironment(provenance));
  }
  if (!config.registries.empty()) {
    TRY_ASSIGN(options.policy.registries, cli::LoadRegistryConfig(options.policy.root));
    for (const auto& [host, settings] : config.registries) options.policy.registries->Set(host, settings);
  }
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
  options.debug_address = flags.debug_address;
  TRY_ASSIGN(options.otlp, report::ReadOtlpSettings("", [](const std::string& variable) {
    const char* value = std::getenv(variable.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  }));
  return options;
}

// After the flags were filled from the file.
Status SetLog(const Flags& flags) {
  auto format = ParseLogFormat(flags.log_format);
  if (!format) return Invalid("--log-format {}: text or json expected", flags.log_format);
  SetLogFormat(*format);
  // A daemon has nothing else to say what it does with; VARVE_LOG=off makes it silent.
  if (flags.debug || flags.trace) SetLogLevel(LogLevel::kDebug);
  else if (std::getenv("VARVE_LOG") == nullptr) SetLogLevel(LogLevel::kInfo);
  return Ok();
}

int Fail(const Error& error) {
  cli::PrintCommandError(error);
  return cli::ExitCodeOf(error);
}

int Serve(const std::string& name, Flags flags) {
  auto options = OptionsOf(name, flags);
  if (options) {
    if (Status log = SetLog(flags); !log) options = log.error();
  }
  if (!options) {
    cli::PrintCommandError(options.error());
    return cli::kUsage;
  }
  // Before the first thread, as in `varve build`: mounts go when this process goes.
  if (sys::CanMount()) {
    if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return Fail(entered.error());
  }
  for (const std::string& key : flags.unused) LOG_WARN("{} has no effect here", key);
  cli::StopSignals signals;
  if (Status prepared = cache::PrepareRoot(options->policy.root); !prepared) return Fail(prepared.error());
  std::optional<Collector> collector;
  if (flags.collect) {
    collector.emplace(options->policy.root, Collector::Options{.measure = !options->debug_address.empty()});
    options->storage = [&collector] { return collector->storage(); };
  }
  auto server = Server::Start(std::move(*options));
  if (!server) return Fail(server.error());
  LOG_INFO("varved {} listens at {}", cli::kVersion, Join((*server)->addresses(), ", "));
  if (!(*server)->debug_address().empty()) {
    LOG_INFO("metrics are at http://{}/metrics", (*server)->debug_address());
  }
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait(lock, signals.token(), [] { return false; });
  LOG_INFO("varved ends: {} builds run", (*server)->running_builds());
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
  app.add_option("--debugaddr", flags.debug_address, "Serve /metrics and /healthz at this HOST:PORT");
  app.add_option("--log-format", flags.log_format, "How the log on stderr looks: text or json");
  app.add_flag("--debug", flags.debug, "Log more of what happens");
  app.add_flag("--trace", flags.trace, "The same");
  app.add_option("--config", flags.config, "A buildkitd.toml; flags win over it");
  app.add_option("--oci-worker-labels", flags.labels, "Labels of the worker, NAME=VALUE; may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--oci-worker-gc", flags.collect, "Keep the state root within its budget, on a timer (the default)");
  // There is one worker here, and it keeps its layers as it does.
  for (const char* taken : {"--oci-worker", "--containerd-worker", "--oci-worker-snapshotter"}) {
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
  if (Status rootless = cli::BecomeRootless(); !rootless) {
    cli::ToStderr("varved: " + rootless.error().ToString() + "\n");
    return cli::ExitCodeOf(rootless.error());
  }
  return daemon::Main(name, argc, argv);
}
