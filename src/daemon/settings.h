// What a daemon is told by its flags and its buildkitd.toml, flags first, as what it does.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/log_format.h"
#include "base/result.h"
#include "daemon/server.h"

namespace varve::daemon {

// As given; what is empty was not.
struct Flags {
  std::vector<std::string> addresses;
  std::string root;
  std::string group;
  std::string tls_ca, tls_certificate, tls_key;
  bool insecure_tcp = false;
  std::vector<std::string> entitlements;
  bool debug = false, trace = false;
  std::string log_format;
  std::string debug_address;
  int grace_seconds = 60;
  std::string config;
  std::vector<std::string> labels;
  std::vector<std::string> platforms;
  std::string keep_storage;  // --oci-worker-gc-keepstorage
  bool collect = true;
  std::optional<int64_t> parallelism;           // --oci-max-parallelism
  bool no_devices = false;                      // --cdi-disabled
  std::vector<std::string> device_directories;  // --cdi-spec-dir
  std::string without_effect;
};

struct Settings {
  ServerOptions server;
  LogFormat log_format = LogFormat::kText;
  LogLevel log_level = LogLevel::kInfo;
  bool collect = true;
  std::optional<std::vector<std::string>> device_directories = {};  // nothing: sandbox::CdiDirectories'
  std::string gc_policies;                                          // as gc.json has them; empty: gc.json counts
  std::map<std::string, std::string> files;  // that are to be written below the state root: path, and text
  std::vector<std::string> warnings;         // what is configured and has no effect
};

// `name`: of the program. As "buildkitd", the defaults are buildkitd's, and /etc/buildkit/buildkitd.toml is read when
// there is no --config. Reads files; nothing is opened or made. kInvalid with the flag, or the file and its line.
Result<Settings> ReadSettings(const std::string& name, const Flags& flags);

}  // namespace varve::daemon
