// What lowering knows while it works. Internal to the module: shared by the stage_* files.
//
//   CollectStages   stage_list     FROM lines with values; who is built FROM whom
//   LinkCommands    stage_list     COPY --from and mounts → stages; cycles
//   ResolveBases    stage_base     configs of base images, in parallel; ONBUILD triggers
//   LowerStage      stage_lower    instruction by instruction → steps, config, history
//
// One thread, but for the calls of ImageResolver.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dockerfile/lower.h"
#include "dockerfile/lower_scope.h"
#include "dockerfile/lower_steps.h"
#include "dockerfile/step_name.h"
#include "tree/pattern.h"

namespace varve::dockerfile {

struct StageState;

struct Command {
  Instruction instruction;
  // COPY --from: one. RUN: one for each mount, null for one without from=.
  std::vector<StageState*> sources;
  bool on_build = false;
};

struct OutlineFacts {
  std::map<std::string, ArgFacts> args;
  std::set<std::string> used;
  std::map<std::string, Outline::Credential> secrets;
  std::map<std::string, Outline::Credential> ssh;
  std::map<std::string, Outline::CacheMount> caches;
};

struct StageState {
  // From the file. `parsed` is null for an image or context that only a COPY --from or a mount
  // names.
  const Stage* parsed = nullptr;
  Origin origin;
  std::string name;          // empty: unnamed
  std::string display_name;  // in messages: name, or "stage-2"
  std::string base_name;     // expanded
  std::optional<oci::Platform> platform;
  StageState* base = nullptr;  // built FROM this stage
  const NamedContext* replaced_by = nullptr;
  std::vector<Command> commands;
  std::vector<StageState*> needs;  // sources of its commands, in order
  bool no_cache = false;
  std::string no_cache_rule;  // the flag that says so

  bool resolved = false;      // its base is known
  bool done = false;          // lowered: others may use its result
  bool has_triggers = false;  // the base's ONBUILD triggers are among the commands

  // The base image or context as a step that is not yet in the graph, and whether it counts in N.
  std::optional<graph::Step> pending_base;
  bool base_is_numbered = false;
  std::optional<graph::Ref> root;  // nothing: empty

  oci::ImageConfig config;
  std::optional<oci::ImageConfig> base_config;
  std::vector<HistoryEntry> history;
  size_t base_history = 0;
  Variables variables;                                    // ENV and ARG together, as RUN sees them
  std::vector<std::pair<std::string, std::string>> args;  // declared ARGs with their values
  std::string directory = "/";
  StepNumbers numbers;
  std::optional<StageChecks> checks;
  OutlineFacts outline;
  bool scan_stage = false;
  bool scan_context = false;
};

struct Lowering {
  Lowering(const Dockerfile& f, const LowerOptions& o, ImageResolver& r, CheckOptions check)
      : file(f), options(o), resolver(r), linter(std::move(check)) {}

  const Dockerfile& file;
  const LowerOptions& options;
  ImageResolver& resolver;
  Linter linter;
  Span place;  // of what is being looked at: where an error is
  BuildArgs build_args;
  GlobalScope globals;
  std::vector<std::string> proxy_env;
  std::optional<int64_t> epoch;
  StepSet steps;
  std::vector<std::unique_ptr<StageState>> stages;  // of the file, in order, then the others
  std::map<std::string, StageState*> by_name;
  std::vector<UsedImage> images;
  std::optional<graph::Ref> context;
  // Ignore patterns of a local main context without "!": for the rule CopyIgnoredFile.
  std::optional<tree::PatternList> ignored;
};

// A build argument that is about the build and not for the file; empty when it is not given.
inline std::string BuildArg(const Lowering& lowering, std::string_view name) {
  auto it = lowering.build_args.find(name);
  return it == lowering.build_args.end() ? "" : it->second;
}

// The file system that `stage` ends with; adds its base to the graph where that is pending.
std::optional<graph::Ref> RootOf(Lowering& lowering, StageState& stage);

// The same as layers that steps may write on, and that outputs are made of: of a context of files, which is only read
// until then and of which only what is read comes here, a copy. The stage goes on with that.
std::optional<graph::Ref> BaseOf(Lowering& lowering, StageState& stage);

// The build context, added to the graph at its first use.
graph::Ref ContextRoot(Lowering& lowering);

}  // namespace varve::dockerfile
