// `varve build`'s command line, with Buildx's names and value grammar (reference cli.md §2), as values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "export/output.h"
#include "graph/graph.h"

namespace varve::cli {

struct SecretFlag {
  std::string id;
  std::string path;          // from a file …
  std::string variable;      // … or from an environment variable
};

struct SshFlag {
  std::string id = "default";
  std::vector<std::string> paths;  // an agent's socket, or private keys; empty: $SSH_AUTH_SOCK
};

enum class ProgressMode { kAuto, kTty, kPlain, kQuiet, kRawJson, kNone };

struct BuildFlags {
  std::string context;                       // directory, "-", git or http(s) URL
  std::string file;                          // -f; empty: Dockerfile in the context
  std::vector<std::string> tags;
  std::vector<std::pair<std::string, std::string>> build_args;
  std::vector<std::pair<std::string, std::string>> build_contexts;
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<exporter::Output::Annotation> annotations;
  std::vector<exporter::Output> outputs;
  bool output_disabled = false;              // --output ""
  std::string target;
  std::vector<std::string> platforms;
  bool no_cache = false;
  std::vector<std::string> no_cache_filter;
  bool pull = false;
  bool push = false;
  bool load = false;
  bool quiet = false;
  ProgressMode progress = ProgressMode::kAuto;
  std::string iidfile;
  std::string metadata_file;
  std::vector<SecretFlag> secrets;
  std::vector<SshFlag> ssh;
  std::vector<std::pair<std::string, std::string>> extra_hosts;
  graph::NetworkMode network = graph::NetworkMode::kDefault;
  uint64_t shm_size = 0;
  std::vector<graph::Ulimit> ulimits;
  std::map<std::string, std::string> resources;
  std::string cgroup_parent;
  std::vector<std::string> allow;            // entitlements
  std::string call = "build";
  std::string call_format;                   // json, or empty
  std::string salt;                          // --cache-salt
  bool stats = false;
};

// Options of every subcommand.
struct GlobalFlags {
  std::string root;                          // --root, before or after the subcommand
  bool debug = false;
};

// What the command line asks for. `help` and `version` texts are returned as `message` with exit code
// 0; a usage error is kInvalid whose message is complete, hint included.
struct CommandLine {
  GlobalFlags global;
  std::string command;                       // "build", "version", …; empty: print `message`
  std::string message;
  BuildFlags build;
};

Result<CommandLine> ParseCommandLine(int argc, char** argv);

// Values whose grammar is worth a test of its own.
Result<SecretFlag> ParseSecret(std::string_view value);
Result<SshFlag> ParseSsh(std::string_view value);
Result<std::vector<std::pair<std::string, std::string>>> ParseAddHost(std::string_view value);
Result<graph::Ulimit> ParseUlimit(std::string_view value);
Result<std::pair<std::string, std::string>> ParseBuildContext(std::string_view value);

}  // namespace varve::cli
