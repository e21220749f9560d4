#include "daemon/toml_config.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <utility>

#include "base/fd.h"
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
    return Table(table, "",
                 {{"root", Into(config_.root)},
                  {"debug", Into(config_.debug)},
                  {"insecure-entitlements", Into(config_.entitlements)},
                  {"provenanceEnvDir", Into(config_.provenance_directory)},
                  {"grpc", In({{"address", Into(config_.addresses)},
                               {"tls", In({{"ca", Into(config_.tls_ca)},
                                           {"cert", Into(config_.tls_certificate)},
                                           {"key", Into(config_.tls_key)}})}})},
                  {"worker", In({{"oci", In({{"gc", Into(config_.collect)}, {"labels", Into(config_.labels)}})}})},
                  {"registry", [this](const toml::node& node, const std::string& key) { return Registries(node, key); }}});
  }

 private:
  Read In(Keys keys) {
    return [this, keys = std::move(keys)](const toml::node& node, const std::string& key) -> Status {
      const toml::table* table = node.as_table();
      if (table == nullptr) return WrongType(node, key, "a table");
      return Table(*table, key + ".", keys);
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
    if (table == nullptr) {
      config_.unused.push_back(key);
      return;
    }
    for (const auto& [name, value] : *table) Unused(value, key + "." + std::string(name.str()));
  }

  Status Registries(const toml::node& node, const std::string& key) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return WrongType(node, key, "a table");
    for (const auto& [name, value] : *table) {
      registry::HostOptions& host = config_.registries[std::string(name.str())];
      std::vector<std::string> mirrors, authorities;
      bool http = false, insecure = false;
      TRY(In({{"mirrors", Into(mirrors)}, {"ca", Into(authorities)}, {"http", Into(http)}, {"insecure", Into(insecure)}})(
          value, fmt::format("{}.\"{}\"", key, name.str())));
      if (authorities.size() > 1) {
        return Invalid("line {}: ca of {} names {} files: one PEM file with all of them, or a hashed directory, expected",
                       value.source().begin.line, name.str(), authorities.size());
      }
      if (!mirrors.empty()) host.mirrors = std::move(mirrors);
      if (!authorities.empty()) host.ca = std::move(authorities[0]);
      if (http) host.plain_http = true;
      if (insecure) host.insecure = true;
    }
    return Ok();
  }

  TomlConfig& config_;
};

}  // namespace

Result<TomlConfig> ParseTomlConfig(std::string_view text) {
  TRY_ASSIGN(toml::table table, ParseToml(text));
  TomlConfig config;
  TRY(Reader(config).Document(table));
  std::ranges::sort(config.unused);
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
