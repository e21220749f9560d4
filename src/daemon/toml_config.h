// buildkitd.toml, as far as this daemon has what it configures. Flags win over it.
//
//   root = "/var/lib/buildkit"
//   debug = true
//   insecure-entitlements = ["network.host"]
//   provenanceEnvDir = "/etc/buildkit/provenance.d"
//   [grpc]
//     address = ["tcp://0.0.0.0:1234"]
//     [grpc.tls]
//       cert = "…"   key = "…"   ca = "…"
//   [worker.oci]
//     gc = false
//     labels = { "rack" = "7" }
//   [registry."docker.io"]
//     mirrors = ["mirror.example.com"]
//     http = false
//     insecure = false
//     ca = ["/etc/ssl/mirror.pem"]
//
// Other keys change nothing, as keys that buildkitd does not know change nothing there; they are listed, for the log.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "registry/config.h"

namespace varve::daemon {

struct TomlConfig {
  std::string root;
  bool debug = false;
  std::vector<std::string> addresses;
  std::string tls_ca, tls_certificate, tls_key;
  std::vector<std::string> entitlements;
  std::string provenance_directory;  // JSON files whose members every build's provenance has; empty: none
  std::map<std::string, std::string> labels;  // of the worker
  bool collect = true;                        // on a timer
  std::map<std::string, registry::HostOptions> registries;
  std::vector<std::string> unused;  // "otel.socketPath", in the order of the alphabet
};

// kInvalid, with the line, for what is no TOML and for values of another type.
Result<TomlConfig> ParseTomlConfig(std::string_view text);
Result<TomlConfig> LoadTomlConfig(const std::string& path);  // kNotFound when absent

// The members of the objects in a directory's *.json files, by name; of two files with one member the later wins. Null
// when there is no such directory.
Result<Json> ReadProvenanceEnvironment(const std::string& directory);

}  // namespace varve::daemon
