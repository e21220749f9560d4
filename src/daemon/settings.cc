#include "daemon/settings.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"
#include "cache/root.h"
#include "daemon/toml_config.h"
#include "job/registries.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "report/otlp_settings.h"
#include "sandbox/host_files.h"
#include "sys/namespace.h"

namespace varve::daemon {

namespace {

constexpr char kConfigOfBuildkitd[] = "/etc/buildkit/buildkitd.toml";
constexpr size_t kMaxPem = 4 << 20;
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

template <class T>
const T& First(const T& flag, const T& file) {
  return flag.empty() ? file : flag;
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

Status ReadAddresses(const std::string& name, const Flags& flags, const TomlConfig& config, ServerOptions& options) {
  std::vector<std::string> addresses = First(flags.addresses, config.addresses);
  if (addresses.empty()) addresses.push_back(DefaultAddress(name));
  for (const std::string& text : addresses) {
    TRY_ASSIGN(auto address, ParseAddress(text));
    options.addresses.push_back(std::move(address));
  }
  options.insecure_tcp = flags.insecure_tcp;
  options.group = flags.group;
  if (flags.group.empty() && config.group) options.group = std::to_string(*config.group);
  if (config.owner) options.owner = static_cast<uid_t>(*config.owner);
  const TlsFiles tls{First(flags.tls_certificate, config.tls_certificate), First(flags.tls_key, config.tls_key),
                     First(flags.tls_ca, config.tls_ca)};
  if (tls.certificate.empty() != tls.key.empty()) return Invalid("--tlscert and --tlskey belong together");
  if (!tls.certificate.empty()) options.tls = tls;
  return Ok();
}

Status ReadPolicy(const std::string& name, const Flags& flags, const TomlConfig& config, SolvePolicy& policy) {
  const std::string root = First(flags.root, config.root);
  policy.root = cache::RootDirectory(root.empty() && name == "buildkitd" ? "/var/lib/buildkit" : root);
  if (!config.registries.empty()) {
    TRY_ASSIGN(policy.registries, job::LoadRegistryConfig(policy.root));
    for (const auto& [host, settings] : config.registries) policy.registries->Set(host, settings);
  }
  for (const std::string& entitlement : First(flags.entitlements, config.entitlements)) {
    if (entitlement != "network.host" && entitlement != "security.insecure" && entitlement != "device") {
      return Invalid("unknown entitlement {}: network.host, security.insecure or device expected", entitlement);
    }
    policy.entitlements.insert(entitlement);
  }
  std::string provenance = config.provenance_directory;
  if (provenance.empty() && name == "buildkitd") provenance = kProvenanceOfBuildkitd;
  if (!provenance.empty()) {
    TRY_ASSIGN(policy.provenance_environment, ReadProvenanceEnvironment(provenance));
  }
  policy.disabled_frontends = config.disabled_frontends;
  for (const std::string& repository : config.allowed_frontends) {
    TRY_ASSIGN(auto reference, oci::ParseReference(repository));
    policy.allowed_frontends.insert(reference.Name());
  }
  // As in BuildKit: which devices builds have is for CDI's files and the client to say.
  if (!flags.no_devices && !config.no_devices) policy.entitlements.insert("device");
  policy.devices.allowed = {config.devices_for_everybody.begin(), config.devices_for_everybody.end()};
  return Ok();
}

// What the directories of a registry's certificates hold, in the order of the names. One that is absent holds nothing,
// as in BuildKit.
Status ReadDirectories(RegistryCertificates& certificates) {
  for (const std::string& directory : certificates.directories) {
    std::error_code error;
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) files.push_back(entry.path());
    if (error && error != std::errc::no_such_file_or_directory && error != std::errc::permission_denied) {
      return Unavailable("cannot read {}: {}", directory, error.message());
    }
    std::ranges::sort(files);
    for (const std::filesystem::path& file : files) {
      if (file.extension() == ".crt") certificates.authorities.push_back(file);
      if (file.extension() != ".cert") continue;
      certificates.pairs.push_back({file, std::filesystem::path(file).replace_extension(".key")});
    }
  }
  return Ok();
}

// A registry has one file of authorities, and is shown one certificate; several authorities become one file.
Status ReadCertificates(const TomlConfig& config, Settings& settings) {
  SolvePolicy& policy = settings.server.policy;
  for (auto [host, certificates] : config.certificates) {
    TRY(ReadDirectories(certificates));
    registry::HostOptions options = config.registries.at(host);
    if (certificates.pairs.size() > 1) {
      return Invalid("registry.\"{}\".keypair: {} certificates of the client, where one can be shown", host,
                     certificates.pairs.size());
    }
    if (!certificates.pairs.empty()) {
      options.certificate = certificates.pairs[0].certificate;
      options.key = certificates.pairs[0].key;
      for (const std::string& file : {*options.certificate, *options.key}) {
        if (auto text = ReadFile(file, kMaxPem); !text) {
          return Error(std::move(text).error()).With(fmt::format("registry.\"{}\".keypair", host));
        }
      }
    }
    std::string all;
    for (const std::string& file : certificates.authorities) {
      auto text = ReadFile(file, kMaxPem);
      if (!text) return Error(std::move(text).error()).With(fmt::format("registry.\"{}\".ca", host));
      all += *text + "\n";
    }
    if (!all.empty()) {
      options.ca = fmt::format("{}/authorities/{}.pem", policy.root, Digest::Of(host).Hex().substr(0, 16));
      settings.files[*options.ca] = std::move(all);
    }
    policy.registries->Set(host, std::move(options));
  }
  return Ok();
}

// resolv.conf(5): this machine's lines, but for those of a kind that is configured.
std::string ResolvConfOf(const TomlConfig& config, const std::string& of_host) {
  if (config.nameservers.empty() && config.search_domains.empty() && config.dns_options.empty()) return "";
  std::string text;
  for (const std::string& line : Split(of_host, '\n')) {
    const std::string word = line.substr(0, line.find_first_of(" \t"));
    const bool replaced = (word == "nameserver" && !config.nameservers.empty()) ||
                          ((word == "search" || word == "domain") && !config.search_domains.empty()) ||
                          (word == "options" && !config.dns_options.empty());
    if (!line.empty() && !replaced) text += line + "\n";
  }
  for (const std::string& server : config.nameservers) text += "nameserver " + server + "\n";
  if (!config.search_domains.empty()) text += "search " + Join(config.search_domains, " ") + "\n";
  if (!config.dns_options.empty()) text += "options " + Join(config.dns_options, " ") + "\n";
  return text;
}

Status ReadStepSettings(const Flags& flags, const TomlConfig& config, exec::StepSettings& steps) {
  const int64_t parallelism = flags.parallelism.value_or(config.parallelism.value_or(0));
  if (parallelism < 0) return Invalid("--oci-max-parallelism {}: a number from 0 on expected", parallelism);
  if (parallelism > 0) steps.slots = std::make_shared<exec::StepSlots>(static_cast<size_t>(parallelism));
  steps.resolv_conf = ResolvConfOf(config, sandbox::HostResolvConf());
  return Ok();
}

// Without the levels that nothing here is of: what is wrong, and goes on, is a warning.
Result<LogLevel> ParseLogLevel(const std::string& text) {
  if (text == "trace" || text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warn" || text == "warning" || text == "error") return LogLevel::kWarn;
  if (text == "fatal" || text == "panic") return LogLevel::kOff;
  return Invalid("log level {}: error, warn, info, debug or trace expected", text);
}

Status ReadWorker(const Flags& flags, const TomlConfig& config, ServerOptions& options) {
  TRY_ASSIGN(options.worker_labels, WorkerLabels(flags, config));
  for (const std::string& platform : First(flags.platforms, config.platforms)) {
    TRY_ASSIGN(oci::Platform parsed, oci::ParsePlatform(platform));
    options.worker_platforms.push_back(parsed.ToString());
  }
  if (config.history_age) options.records.age = *config.history_age;
  if (config.history_entries) options.records.entries = static_cast<size_t>(*config.history_entries);
  return Ok();
}

}  // namespace

Result<Settings> ReadSettings(const std::string& name, const Flags& flags) {
  Settings settings;
  TRY_ASSIGN(const TomlConfig config, ReadConfig(name, flags));
  TRY(ReadAddresses(name, flags, config, settings.server));
  TRY(ReadPolicy(name, flags, config, settings.server.policy));
  TRY(ReadCertificates(config, settings));
  TRY(ReadStepSettings(flags, config, settings.server.policy.steps));
  TRY(ReadWorker(flags, config, settings.server));
  settings.server.debug_address = First(flags.debug_address, config.debug_address);
  TRY_ASSIGN(settings.server.otlp, report::ReadOtlpSettings("", [](const std::string& variable) {
               const char* value = std::getenv(variable.c_str());
               return value == nullptr ? std::nullopt : std::optional<std::string>(value);
             }));
  const std::string format = First(flags.log_format, config.log_format);
  auto log_format = ParseLogFormat(format.empty() ? "text" : format);
  if (!log_format) return Invalid("log format {}: text or json expected", format);
  settings.log_format = *log_format;
  if (!config.log_level.empty()) {
    TRY_ASSIGN(settings.log_level, ParseLogLevel(config.log_level));
  }
  // A daemon has nothing else to say what it does with; VARVE_LOG=off makes it silent.
  if (std::getenv("VARVE_LOG") != nullptr) settings.log_level = CurrentLogLevel();
  if (flags.debug || flags.trace || config.debug || config.trace) settings.log_level = LogLevel::kDebug;
  const std::vector<std::string>& directories = First(flags.device_directories, config.device_directories);
  if (!directories.empty()) settings.device_directories = directories;
  if (flags.no_devices || config.no_devices) settings.device_directories.emplace();
  settings.collect = flags.collect && config.collect;
  settings.gc_policies = config.gc_policies;
  if (!flags.keep_storage.empty()) settings.gc_policies = Json().Set("reservedSpace", flags.keep_storage).Dump();
  const std::string file = flags.config.empty() ? kConfigOfBuildkitd : flags.config;
  for (const std::string& line : config.unused) settings.warnings.push_back(file + ": " + line);
  return settings;
}

}  // namespace varve::daemon
