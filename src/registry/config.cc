#include "registry/config.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"
#include "net/url.h"

namespace varve::registry {

namespace {

constexpr std::string_view kHub = "docker.io";
constexpr std::string_view kHubServer = "registry-1.docker.io";

// "host" and "host:port" as net::Url prints them, so that equal hosts compare equal.
std::string HostPart(std::string_view authority) {
  auto url = net::ParseUrl("https://" + std::string(authority));
  return url ? url->host : std::string(authority);
}

Error UnknownMember(std::string_view name, std::string_view where, std::span<const std::string_view> known) {
  Error error = Invalid("registry configuration: {} has an unknown member \"{}\"", where, name);
  if (auto near = NearestWord(name, known)) error.hint = fmt::format("did you mean \"{}\"?", *near);
  return error;
}

Result<std::vector<std::string>> ParseMirrors(const Json& json, std::string_view where) {
  std::vector<std::string> mirrors;
  if (!json.is_array()) return Invalid("registry configuration: mirrors of {} are no list", where);
  for (const Json& item : json.as_array()) {
    if (!item.is_string()) {
      return Invalid("registry configuration: a mirror of {} is no string", where);
    }
    const std::string& text = item.as_string();
    auto url = net::ParseUrl(text.find("://") == text.npos ? "https://" + text : text);
    if (!url || !url->query.empty() || !url->user_info.empty()) {
      Error error =
          Invalid("registry configuration: \"{}\", a mirror of {}, is not an address", net::Redact(text), where);
      error.hint = "mirrors look like https://mirror.example.com; log in with docker login";
      return error;
    }
    mirrors.push_back(text);
  }
  return mirrors;
}

Result<HostOptions> ParseOptions(const Json& json, std::string_view where) {
  static constexpr std::string_view kMembers[] = {"mirrors", "plain_http", "insecure", "ca", "certificate", "key"};
  if (!json.is_object()) return Invalid("registry configuration: {} is no object", where);
  HostOptions options;
  for (const auto& [name, value] : json.as_object()) {
    if (name == "mirrors") {
      TRY_ASSIGN(options.mirrors, ParseMirrors(value, where));
    } else if (name == "plain_http" || name == "insecure") {
      if (!value.is_bool()) {
        return Invalid("registry configuration: {} of {} is neither true nor false", name, where);
      }
      (name == "insecure" ? options.insecure : options.plain_http) = value.as_bool();
    } else if (name == "ca" || name == "certificate" || name == "key") {
      if (!value.is_string()) return Invalid("registry configuration: {} of {} is no path", name, where);
      (name == "ca" ? options.ca : name == "key" ? options.key : options.certificate) = value.as_string();
    } else {
      return UnknownMember(name, where, kMembers);
    }
  }
  if (options.certificate.has_value() != options.key.has_value()) {
    return Invalid("registry configuration: certificate and key of {} belong together", where);
  }
  return options;
}

}  // namespace

Result<Config> Config::Parse(std::string_view text) {
  static constexpr std::string_view kMembers[] = {"registries", "default"};
  auto json = Json::Parse(text);
  if (!json) return std::move(json).error().With("registry configuration");
  if (!json->is_object()) return Invalid("registry configuration is no JSON object");
  Config config;
  for (const auto& [name, value] : json->as_object()) {
    if (name == "default") {
      TRY_ASSIGN(config.default_, ParseOptions(value, "default"));
    } else if (name == "registries") {
      if (!value.is_object()) return Invalid("registry configuration: registries is no object");
      for (const auto& [host, options] : value.as_object()) {
        TRY_ASSIGN(config.hosts_[host], ParseOptions(options, host));
      }
    } else {
      return UnknownMember(name, "the document", kMembers);
    }
  }
  return config;
}

Result<Config> Config::Load(const std::string& path) {
  TRY_ASSIGN(std::string text, ReadFile(path, 1 << 20));
  auto config = Parse(text);
  if (!config) return std::move(config).error().With(path);
  return config;
}

HostOptions Config::OptionsOf(const std::string& host) const {
  HostOptions out = default_;
  auto found = hosts_.find(host);
  if (found == hosts_.end()) return out;
  const HostOptions& own = found->second;
  if (own.mirrors) out.mirrors = own.mirrors;
  if (own.plain_http) out.plain_http = own.plain_http;
  if (own.insecure) out.insecure = own.insecure;
  if (own.ca) out.ca = own.ca;
  if (own.certificate) {
    out.certificate = own.certificate;
    out.key = own.key;
  }
  return out;
}

Endpoint Config::Origin(const std::string& domain) const {
  HostOptions options = OptionsOf(domain);
  std::string host = domain == kHub ? std::string(kHubServer) : domain;
  bool tls_wanted = options.ca.has_value() || options.certificate.has_value() || options.insecure.has_value();
  bool plain = options.plain_http.value_or(!tls_wanted && net::IsLoopback(HostPart(host)));
  return {.url = (plain ? "http://" : "https://") + host,
          .host = host,
          .tls = {.ca = options.ca.value_or(""),
                  .insecure = options.insecure.value_or(false),
                  .certificate = options.certificate.value_or(""),
                  .key = options.key.value_or("")}};
}

std::optional<Endpoint> Config::Mirror(const std::string& text, const std::string& domain) const {
  bool has_scheme = text.find("://") != text.npos;
  auto url = net::ParseUrl(has_scheme ? text : "https://" + text);
  if (!url) return {};
  Endpoint endpoint = Origin(url->Authority());
  if (has_scheme) endpoint.url = url->Origin();
  endpoint.host = url->Authority();
  endpoint.ns = domain;
  std::string path = url->path;
  while (path.ends_with('/')) path.pop_back();
  if (path == "/v2") path.clear();  // said by many who mean the server
  endpoint.url += path;
  return endpoint;
}

std::vector<Endpoint> Config::Endpoints(const std::string& domain) const {
  std::vector<Endpoint> out;
  Endpoint origin = Origin(domain);
  for (const std::string& text : OptionsOf(domain).mirrors.value_or(std::vector<std::string>())) {
    auto mirror = Mirror(text, domain);
    if (mirror && mirror->url != origin.url) out.push_back(std::move(*mirror));
  }
  out.push_back(std::move(origin));
  return out;
}

}  // namespace varve::registry
