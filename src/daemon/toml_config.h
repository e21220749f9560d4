// buildkitd.toml (BuildKit's docs/buildkitd.toml.md), as far as this daemon has what it configures: doc/daemon.md
// lists the keys. Flags win over it.
//
// A key that changes nothing here is no error, as one that buildkitd does not know is none there; but it is said, with
// its line, since somebody meant something by it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "registry/config.h"

namespace varve::daemon {

// How a registry is known, and what it is shown, where that is not one file of authorities alone.
struct RegistryCertificates {
  struct Pair {
    std::string certificate, key;
  };
  std::vector<std::string> authorities;  // PEM files
  std::vector<Pair> pairs;               // the client's
  std::vector<std::string> directories;  // as docker's certs.d: *.crt authorities, NAME.cert and NAME.key a pair
};

struct TomlConfig {
  std::string root;
  bool debug = false, trace = false;
  std::string log_format, log_level, debug_address;
  std::vector<std::string> addresses;
  std::optional<int64_t> owner, group;  // of the sockets, by number
  std::string tls_ca, tls_certificate, tls_key;
  std::vector<std::string> entitlements;
  bool no_devices = false;
  std::vector<std::string> device_directories;     // where CDI's files are; empty: where they always are
  std::vector<std::string> devices_for_everybody;  // DeviceRules::allowed
  std::string provenance_directory;                // JSON files whose members every build's provenance has; empty: none
  std::map<std::string, std::string> labels;       // of the worker
  std::vector<std::string> platforms;              // that the worker announces, instead of those that it finds
  bool collect = true;                             // on a timer
  std::string gc_policies;  // as gc.json has them (upkeep/policy.h); empty: the file says nothing
  std::optional<Nanos> history_age;
  std::optional<int64_t> history_entries;
  std::set<std::string> disabled_frontends;    // "dockerfile.v0"
  std::vector<std::string> allowed_frontends;  // repositories of images that may be front ends; empty: all
  std::map<std::string, registry::HostOptions> registries;
  std::map<std::string, RegistryCertificates> certificates;           // by registry, of those in `registries`
  std::optional<int64_t> parallelism;                                 // steps at once, of all builds; 0 is no limit
  std::vector<std::string> nameservers, search_domains, dns_options;  // of steps, where not this machine's
  std::vector<std::string> unused;  // "line 3: otel.socketPath has no effect here", in the order of the lines
};

// kInvalid, with the line, for what is no TOML and for values of another type.
Result<TomlConfig> ParseTomlConfig(std::string_view text);
Result<TomlConfig> LoadTomlConfig(const std::string& path);  // kNotFound when absent

// The members of the objects in a directory's *.json files, by name; of two files with one member the later wins. Null
// when there is no such directory.
Result<Json> ReadProvenanceEnvironment(const std::string& directory);

}  // namespace varve::daemon
