// Which hosts are asked for the images of a registry, and how they are spoken to.
//
// The file (registries.json):
//
//   {
//     "registries": {
//       "docker.io": {
//         "mirrors": ["http://127.0.0.1:5000", "https://proxy.example.com/docker-hub"]
//       },
//       "registry.example.com": {
//         "ca": "/etc/ssl/example.pem",   a PEM file or hashed directory, besides the system's
//         "certificate": "/etc/ssl/me.pem", "key": "/etc/ssl/me.key",
//                                         PEM files: shown to a registry that asks who the client is
//         "insecure": false,              true: the certificate is not checked
//         "plain_http": false             true: http instead of https
//       }
//     },
//     "default": { … }                    the same members, for what an entry does not say
//   }
//
// Keys are registries as they stand in references, with their port, or mirrors by host and port.
// Mirrors are asked in order, then the registry itself; pushes go to the registry alone. A mirror
// may have a path, below which it serves /v2/. It is told which registry is meant by "?ns=", as
// containerd does. Members that varve does not know are an error: a typing mistake in "mirrors"
// would silently send every pull elsewhere.
//
// http is spoken only where plain_http or a mirror's http:// says so, and to loopback hosts that
// have none of "ca", "certificate" and "insecure".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_client.h"

namespace varve::registry {

struct HostOptions {
  std::optional<std::vector<std::string>> mirrors = {};
  std::optional<bool> plain_http = {};
  std::optional<bool> insecure = {};
  std::optional<std::string> ca = {};
  std::optional<std::string> certificate = {}, key = {};  // both, or neither
};

// A server that speaks the distribution protocol.
struct Endpoint {
  std::string url;      // "https://host:port/prefix"; requests go to url + "/v2/…"
  std::string host;     // "host:port": for messages and credentials
  std::string ns = {};  // not empty: a mirror, and the registry it stands for
  net::Tls tls = {};
  bool IsMirror() const { return !ns.empty(); }
};

class Config {
 public:
  Config() = default;  // no mirrors, https
  static Result<Config> Parse(std::string_view text);
  static Result<Config> Load(const std::string& path);  // kNotFound when absent

  void Set(const std::string& host, HostOptions options) { hosts_[host] = std::move(options); }
  // As an output's registry.insecure=true asks for: http, for this run.
  void AllowPlainHttp(const std::string& host) { hosts_[host].plain_http = true; }

  // The registry itself. "docker.io" is served by registry-1.docker.io.
  Endpoint Origin(const std::string& domain) const;
  // Its mirrors in order, then the registry itself.
  std::vector<Endpoint> Endpoints(const std::string& domain) const;

 private:
  HostOptions OptionsOf(const std::string& host) const;
  std::optional<Endpoint> Mirror(const std::string& text, const std::string& domain) const;

  std::map<std::string, HostOptions> hosts_;
  HostOptions default_;
};

}  // namespace varve::registry
