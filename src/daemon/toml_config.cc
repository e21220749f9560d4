#include "daemon/toml_config.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <utility>

#include "base/fd.h"
#include "base/json.h"
#include "base/toml.h"

namespace varve::daemon {

namespace {

constexpr size_t kMaxFile = 1 << 20;

Error WrongType(const toml::node& node, std::string_view key, std::string_view expected) {
  return Invalid("line {}: {} is not {}", node.source().begin.line, key, expected);
}

Status Take(const toml::node& node, std::string_view key, std::string& out) {
  const auto* text = node.as_string();
  if (text == nullptr) return WrongType(node, key, "a string");
  out = text->get();
  return Ok();
}

Status Take(const toml::node& node, std::string_view key, bool& out) {
  const auto* flag = node.as_boolean();
  if (flag == nullptr) return WrongType(node, key, "true or false");
  out = flag->get();
  return Ok();
}

Status Take(const toml::node& node, std::string_view key, std::vector<std::string>& out) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return WrongType(node, key, "a list of strings");
  for (const toml::node& item : *array) {
    std::string text;
    TRY(Take(item, key, text));
    out.push_back(std::move(text));
  }
  return Ok();
}

Status Take(const toml::node& node, std::string_view key, std::map<std::string, std::string>& out) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return WrongType(node, key, "a table of strings");
  for (const auto& [name, value] : *table) TRY(Take(value, key, out[std::string(name.str())]));
  return Ok();
}

Status Take(const toml::node& node, std::string_view key, std::optional<int64_t>& out) {
  const auto* number = node.as_integer();
  if (number == nullptr || number->get() < 0) return WrongType(node, key, "a number from 0 on");
  out = number->get();
  return Ok();
}

// [[keypair]] tables, each with "cert" and "key".
Status Take(const toml::node& node, std::string_view key, std::vector<RegistryCertificates::Pair>& out) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return WrongType(node, key, "a list of tables");
  for (const toml::node& item : *array) {
    const toml::table* table = item.as_table();
    const toml::node* certificate = table == nullptr ? nullptr : table->get("cert");
    const toml::node* secret = table == nullptr ? nullptr : table->get("key");
    if (certificate == nullptr || secret == nullptr) return WrongType(item, key, "a table with cert and key");
    RegistryCertificates::Pair& pair = out.emplace_back();
    TRY(Take(*certificate, fmt::format("{}.cert", key), pair.certificate));
    TRY(Take(*secret, fmt::format("{}.key", key), pair.key));
  }
  return Ok();
}

// Go's durations in a file: seconds, or "48h".
Status Take(const toml::node& node, std::string_view key, std::optional<Nanos>& out) {
  if (const auto* seconds = node.as_integer()) {
    out = std::chrono::seconds(seconds->get());
    return Ok();
  }
  const auto* text = node.as_string();
  auto duration = text == nullptr ? Result<Nanos>(Invalid("")) : ParseGoDuration(text->get());
  if (!duration) return WrongType(node, key, "a duration: seconds, or \"48h\"");
  out = *duration;
  return Ok();
}

Json ToJson(const toml::node& node) {
  if (const auto* text = node.as_string()) return Json(text->get());
  if (const auto* number = node.as_integer()) return Json(number->get());
  if (const auto* number = node.as_floating_point()) return Json(number->get());
  if (const auto* flag = node.as_boolean()) return Json(flag->get());
  if (const toml::array* array = node.as_array()) {
    Json out = Json::EmptyArray();
    for (const toml::node& item : *array) out.Append(ToJson(item));
    return out;
  }
  Json out = Json::EmptyObject();
  if (const toml::table* table = node.as_table()) {
    for (const auto& [name, value] : *table) out.Set(name.str(), ToJson(value));
  }
  return out;
}

// Keys of buildkitd's that mean nothing here, with the reason; tables stand for all that is in them.
struct Meaningless {
  std::string_view key, why;
};
constexpr Meaningless kMeaningless[] = {
    {"grpc.securityDescriptor", "it is Windows'"},
    {"otel", "set OTEL_EXPORTER_OTLP_ENDPOINT"},
    {"proxyNetwork", "steps reach the network directly"},
    {"system", "platforms are looked at once"},
    {"worker.containerd", "there is one worker, oci"},
    {"worker.oci.apparmor-profile", "steps run without a profile"},
    {"worker.oci.binary", "crun or runc is found on PATH"},
    {"worker.oci.cniConfigPath", "steps share this machine's network, or have none"},
    {"worker.oci.cniBinaryPath", "steps share this machine's network, or have none"},
    {"worker.oci.cniPoolSize", "steps share this machine's network, or have none"},
    {"worker.oci.defaultCgroupParent", "steps have the parent that their client asks for"},
    {"worker.oci.enabled", "there is one worker, oci"},
    {"worker.oci.networkMode", "steps share this machine's network, or have none"},
    {"worker.oci.noProcessSandbox", "steps always have their own processes"},
    {"worker.oci.rootless", "it follows from who starts the daemon"},
    {"worker.oci.selinux", "steps have no labels"},
    {"worker.oci.snapshotter", "layers are kept as overlayfs has them"},
};

// What reads one key; its argument is the key's whole name, for messages.
using Read = std::function<Status(const toml::node&, const std::string&)>;
using Keys = std::map<std::string, Read, std::less<>>;

template <class T>
Read Into(T& out) {
  return [&out](const toml::node& node, const std::string& key) { return Take(node, key, out); };
}

class Reader {
 public:
  explicit Reader(TomlConfig& config) : config_(config) {}

  Status Document(const toml::table& table) {
    const Keys tls = {
        {"ca", Into(config_.tls_ca)}, {"cert", Into(config_.tls_certificate)}, {"key", Into(config_.tls_key)}};
    const Keys oci = {{"gc", Into(config_.collect)},
                      {"labels", Into(config_.labels)},
                      {"platforms", Into(config_.platforms)},
                      {"max-parallelism", Into(config_.parallelism)},
                      {"gckeepstorage", Policy("gckeepstorage")},
                      {"reservedSpace", Policy("reservedSpace")},
                      {"maxUsedSpace", Policy("maxUsedSpace")},
                      {"minFreeSpace", Policy("minFreeSpace")},
                      {"gcpolicy", Policy("gcpolicy")}};
    TRY(Table(
        table, "",
        {{"root", Into(config_.root)},
         {"debug", Into(config_.debug)},
         {"trace", Into(config_.trace)},
         {"insecure-entitlements", Into(config_.entitlements)},
         {"provenanceEnvDir", Into(config_.provenance_directory)},
         {"log", In({{"format", Into(config_.log_format)}, {"level", Into(config_.log_level)}})},
         {"grpc", In({{"address", Into(config_.addresses)},
                      {"debugAddress", Into(config_.debug_address)},
                      {"uid", Into(config_.owner)},
                      {"gid", Into(config_.group)},
                      {"tls", In(tls)}})},
         {"worker", In({{"oci", In(oci)}})},
         {"dns", In({{"nameservers", Into(config_.nameservers)},
                     {"searchDomains", Into(config_.search_domains)},
                     {"options", Into(config_.dns_options)}})},
         {"cdi", In({{"disabled", Into(config_.no_devices)},
                     {"specDirs", Into(config_.device_directories)},
                     {"autoAllowed", Into(config_.devices_for_everybody)}})},
         {"history", In({{"maxAge", Into(config_.history_age)}, {"maxEntries", Into(config_.history_entries)}})},
         {"frontend", [this](const toml::node& node, const std::string& key) { return Frontends(node, key); }},
         {"registry", [this](const toml::node& node, const std::string& key) { return Registries(node, key); }}}));
    if (!policies_.is_null()) config_.gc_policies = policies_.Dump();
    std::ranges::sort(unused_);
    for (auto& [line, text] : unused_) config_.unused.push_back(std::move(text));
    return Ok();
  }

 private:
  Read In(Keys keys) {
    return [this, keys = std::move(keys)](const toml::node& node, const std::string& key) -> Status {
      const toml::table* table = node.as_table();
      if (table == nullptr) return WrongType(node, key, "a table");
      return Table(*table, key + ".", keys);
    };
  }

  // A member of gc.json, which has buildkitd's names; its reader judges the value.
  Read Policy(const char* member) {
    return [this, member](const toml::node& node, const std::string&) -> Status {
      policies_.Set(member, ToJson(node));
      return Ok();
    };
  }

  Status Table(const toml::table& table, const std::string& prefix, const Keys& keys) {
    for (const auto& [name, value] : table) {
      const std::string key = prefix + std::string(name.str());
      auto known = keys.find(name.str());
      if (known != keys.end()) {
        TRY(known->second(value, key));
      } else {
        Unused(value, key);
      }
    }
    return Ok();
  }

  void Unused(const toml::node& node, const std::string& key) {
    const toml::table* table = node.as_table();
    if (table != nullptr && !table->empty()) {
      for (const auto& [name, value] : *table) Unused(value, key + "." + std::string(name.str()));
      return;
    }
    const auto line = static_cast<int>(node.source().begin.line);
    for (const Meaningless& known : kMeaningless) {
      const bool inside = key.starts_with(known.key) && key.substr(known.key.size()).starts_with('.');
      if (key != known.key && !inside) continue;
      unused_.emplace_back(line, fmt::format("line {}: {} has no effect here: {}", line, key, known.why));
      return;
    }
    unused_.emplace_back(line, fmt::format("line {}: {} is a key that nobody knows", line, key));
  }

  // [frontend."dockerfile.v0"] enabled = false
  Status Frontends(const toml::node& node, const std::string& key) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return WrongType(node, key, "a table");
    for (const auto& [name, value] : *table) {
      bool enabled = true;
      Keys keys = {{"enabled", Into(enabled)}};
      if (name.str() == "gateway.v0") keys.emplace("allowedRepositories", Into(config_.allowed_frontends));
      TRY(In(std::move(keys))(value, fmt::format("{}.{}", key, name.str())));
      if (!enabled) config_.disabled_frontends.emplace(name.str());
    }
    return Ok();
  }

  Status Registries(const toml::node& node, const std::string& key) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return WrongType(node, key, "a table");
    for (const auto& [name, value] : *table) {
      registry::HostOptions& host = config_.registries[std::string(name.str())];
      std::vector<std::string> mirrors;
      RegistryCertificates certificates;
      bool http = false, insecure = false;
      TRY(In({{"mirrors", Into(mirrors)},
              {"http", Into(http)},
              {"insecure", Into(insecure)},
              {"ca", Into(certificates.authorities)},
              {"keypair", Into(certificates.pairs)},
              {"tlsconfigdir", Into(certificates.directories)}})(value, fmt::format("{}.\"{}\"", key, name.str())));
      if (!mirrors.empty()) host.mirrors = std::move(mirrors);
      if (certificates.authorities.size() == 1 && certificates.directories.empty()) {
        host.ca = std::move(certificates.authorities[0]);
        certificates.authorities.clear();
      }
      config_.certificates[std::string(name.str())] = std::move(certificates);
      if (http) host.plain_http = true;
      if (insecure) host.insecure = true;
    }
    return Ok();
  }

  TomlConfig& config_;
  Json policies_;
  std::vector<std::pair<int, std::string>> unused_;  // by line
};

}  // namespace

Result<TomlConfig> ParseTomlConfig(std::string_view text) {
  TRY_ASSIGN(toml::table table, ParseToml(text));
  TomlConfig config;
  TRY(Reader(config).Document(table));
  return config;
}

Result<TomlConfig> LoadTomlConfig(const std::string& path) {
  TRY_ASSIGN(std::string text, ReadFile(path, kMaxFile));
  auto config = ParseTomlConfig(text);
  if (!config) return std::move(config).error().With(path);
  return config;
}

Result<Json> ReadProvenanceEnvironment(const std::string& directory) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  if (error == std::errc::no_such_file_or_directory) return Json();
  if (error) return Unavailable("cannot read {}: {}", directory, error.message());
  std::ranges::sort(files);
  Json environment = Json::EmptyObject();
  for (const std::filesystem::path& file : files) {
    TRY_ASSIGN(std::string text, ReadFile(file.string(), kMaxFile));
    auto json = Json::Parse(text);
    if (!json) return Error(std::move(json).error()).With(file.string());
    if (!json->is_object()) return Invalid("{} is no JSON object", file.string());
    for (const auto& [name, value] : json->as_object()) environment.Set(name, value);
  }
  return environment;
}

}  // namespace varve::daemon
