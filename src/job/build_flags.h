// What a build is asked for, as values: the flags of `varve build` after Buildx (reference cli.md §2), and the grammars
// of their values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "attest/request.h"
#include "base/result.h"
#include "export/output.h"
#include "graph/graph.h"
#include "job/step_rules.h"
#include "source/context_mode.h"
#include "tier/spec.h"

namespace varve::job {

// What holds without flags, for the builds of commands that have none too: on, unless VARVE_TRACE says no.
engine::TraceRules DefaultTraceRules();

struct SecretFlag {
  std::string id;
  std::string path;      // from a file …
  std::string variable;  // … or from an environment variable
};

struct SshFlag {
  std::string id = "default";
  std::vector<std::string> paths;  // an agent's socket, or private keys; empty: $SSH_AUTH_SOCK
};

// --call NAME[,format=json][,ignorestatus=true][,hints=…]: an answer about the Dockerfile instead of a
// build (reference cli.md §4).
struct CallFlag {
  enum class Hints { kShow, kHide, kError };

  std::string name = "build";  // lint (check is the same), outline, targets, graph, …
  bool json = false;
  bool ignore_status = false;  // exit 0 whatever lint found
  Hints hints = Hints::kShow;  // lint: what to do about varve's own rules
};

enum class ProgressMode { kAuto, kTty, kPlain, kQuiet, kRawJson, kNone };

struct BuildFlags {
  std::string context;                         // directory, "-", git or http(s) URL
  std::string file;                            // -f; empty: Dockerfile in the context
  std::optional<std::string> dockerfile_text;  // instead of `file`: Compose's dockerfile_inline
  std::vector<std::string> tags;
  std::vector<std::pair<std::string, std::string>> build_args;
  std::vector<std::pair<std::string, std::string>> build_contexts;
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<exporter::Output::Annotation> annotations;
  std::vector<exporter::Output> outputs;
  bool output_disabled = false;  // --output ""
  std::string target;
  std::vector<std::string> platforms;
  bool no_cache = false;
  std::vector<std::string> no_cache_filter;
  bool rebuild_cache = false;  // no_cache too: nothing is read, what is written replaces
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
  std::vector<std::string> allow;  // entitlements
  CallFlag call;
  std::string source_policy_file;
  std::string salt;                    // --cache-salt
  std::vector<tier::Spec> cache_from;  // in order of preference
  std::vector<tier::Spec> cache_to;
  tier::ImageTrust cache_from_trust = tier::ImageTrust::kHistory;
  source::ContextMode context_mode = source::ContextMode::kAuto;
  std::vector<AgeRule> max_age;                    // --cache-max-age
  std::vector<std::string> must_hit;               // --fail-on-cache-miss: steps; empty text: all
  bool semantic_manifests = false;                 // package files count by what they install
  std::optional<int> trace_shadow;                 // --trace-shadow=N%; else the build configuration's
  engine::TraceRules trace = DefaultTraceRules();  // --no-trace, --strict-mtime, --trace-max-age
  bool reproducible = false;                       // the same inputs give the same digest anywhere
  attest::Request attest;                          // --attest, --provenance, --sbom
  bool stats = false;
};

// Values whose grammar is worth a test of its own.
Result<SecretFlag> ParseSecret(std::string_view value);
Result<CallFlag> ParseCall(std::string_view value);
Result<ProgressMode> ParseProgressMode(const std::string& value);
Result<SshFlag> ParseSsh(std::string_view value);
Result<std::vector<std::pair<std::string, std::string>>> ParseAddHost(std::string_view value);
Result<graph::Ulimit> ParseUlimit(std::string_view value);
Result<std::pair<std::string, std::string>> ParseBuildContext(std::string_view value);

}  // namespace varve::job
