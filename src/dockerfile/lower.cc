#include "dockerfile/lower.h"

#include <algorithm>

#include "dockerfile/image_config_edit.h"
#include "dockerfile/lower_epoch.h"
#include "dockerfile/stage_base.h"
#include "dockerfile/stage_list.h"
#include "dockerfile/stage_lower.h"

namespace varve::dockerfile {

namespace {

void CollectFacts(StageState* stage, std::set<std::string>* seen_args, std::set<std::string>* seen_secrets,
                  std::set<std::string>* seen_ssh, std::set<std::string>* seen_caches, std::set<StageState*>* seen,
                  Outline* outline) {
  if (stage == nullptr || !seen->insert(stage).second) return;
  // What a used argument's default uses is used too.
  std::vector<std::string> todo(stage->outline.used.begin(), stage->outline.used.end());
  std::set<std::string> used;
  while (!todo.empty()) {
    std::string name = std::move(todo.back());
    todo.pop_back();
    if (!used.insert(name).second) continue;
    auto facts = stage->outline.args.find(name);
    if (facts == stage->outline.args.end()) continue;
    todo.insert(todo.end(), facts->second.uses.begin(), facts->second.uses.end());
    if (seen_args->insert(name).second) {
      outline->args.push_back({name, facts->second.description, facts->second.value, facts->second.span});
    }
  }
  for (const auto& [id, secret] : stage->outline.secrets) {
    if (seen_secrets->insert(id).second) outline->secrets.push_back(secret);
  }
  for (const auto& [id, ssh] : stage->outline.ssh) {
    if (seen_ssh->insert(id).second) outline->ssh.push_back(ssh);
  }
  for (const auto& [id, cache] : stage->outline.caches) {
    if (seen_caches->insert(id).second) outline->caches.push_back(cache);
  }
  CollectFacts(stage->base, seen_args, seen_secrets, seen_ssh, seen_caches, seen, outline);
  for (StageState* need : stage->needs) {
    CollectFacts(need, seen_args, seen_secrets, seen_ssh, seen_caches, seen, outline);
  }
}

Outline MakeOutline(StageState& target) {
  Outline outline;
  outline.name = target.name;
  if (target.parsed != nullptr) outline.description = target.parsed->description;
  std::set<std::string> args, secrets, ssh, caches;
  std::set<StageState*> seen;
  CollectFacts(&target, &args, &secrets, &ssh, &caches, &seen, &outline);
  auto by_line = [](const auto& a, const auto& b) { return a.span.start_line < b.span.start_line; };
  std::ranges::stable_sort(outline.args, by_line);
  std::ranges::stable_sort(outline.secrets, by_line);
  std::ranges::stable_sort(outline.ssh, by_line);
  std::ranges::stable_sort(outline.caches, by_line);
  return outline;
}

Status ReadIgnored(Lowering& lowering) {
  const auto* local = std::get_if<graph::LocalSource>(&lowering.options.context.source);
  if (local == nullptr || local->exclude.empty()) return Ok();
  // What "!" brings back is not worth guessing: the rule is for paths that surely are not there.
  if (std::ranges::any_of(local->exclude, [](const auto& p) { return p.starts_with('!'); })) {
    return Ok();
  }
  TRY_ASSIGN(lowering.ignored, tree::PatternList::Compile(local->exclude));
  return Ok();
}

void Finish(Lowering& lowering, StageState& target, const std::set<StageState*>& needed, Lowered* out) {
  out->root = BaseOf(lowering, target);
  for (const auto& [key, value] : lowering.options.labels) target.config.SetLabel(key, value);
  if (lowering.options.platform_given) {
    SetResultPlatform(target.config, lowering.options.target_platform);
  }
  std::vector<oci::History> history;
  for (const HistoryEntry& entry : target.history) history.push_back(entry.history);
  if (!history.empty()) target.config.set_history(history);
  for (const auto& stage : lowering.stages) {
    if (stage.get() == &target || !stage->scan_stage || !needed.contains(stage.get())) continue;
    out->sbom_stages.emplace_back(stage->display_name, RootOf(lowering, *stage));
  }
  out->sbom_context = target.scan_context;
  if (out->sbom_context) ContextRoot(lowering);
  out->context = lowering.context;
  out->config = target.config;
  out->history = target.history;
  out->base_history = target.base_history;
  out->base_config = target.base_config;
  for (const auto& stage : lowering.stages) {
    bool below = stage->history.size() <= target.history.size() &&
                 std::equal(stage->history.begin(), stage->history.end(), target.history.begin(),
                            [](const HistoryEntry& a, const HistoryEntry& b) { return a.step == b.step; });
    if (below || !needed.contains(stage.get())) continue;
    out->other_stages.push_back({stage->history, stage->base_history, stage->base_config});
  }
  out->images = lowering.images;
  out->warnings = lowering.linter.warnings();
  out->epoch = lowering.epoch;
  out->no_cache = target.no_cache;
  out->stage = target.name;
  out->cache_mount_namespace = BuildArg(lowering, "BUILDKIT_CACHE_MOUNT_NS");
  out->build_name = BuildArg(lowering, "BUILDKIT_BUILD_NAME");
  out->outline = MakeOutline(target);
  out->stages = lowering.file.stages.size();
  out->graph = lowering.steps.Take();
}

Status LowerFile(Lowering& lowering, Lowered* out) {
  const LowerOptions& options = lowering.options;
  const Dockerfile& file = lowering.file;
  CheckFile(file, lowering.linter);
  if (file.stages.empty()) {
    Error error = Invalid("dockerfile contains no stages to build");
    error.hint = "begin with a FROM instruction";
    return error;
  }
  // Arguments are known before the first stage is looked at.
  std::string target_name = options.target.empty() ? file.stages.back().name : options.target;
  Variables automatic =
      AutomaticArgs(options.build_platform, options.target_platform, target_name, lowering.build_args);
  CheckDefaultArgs(lowering, automatic);
  TRY_ASSIGN(lowering.globals, GlobalArgs(file, automatic, lowering.build_args, &lowering.place));
  TRY(ResolveEpoch(lowering));
  lowering.proxy_env = ProxyEnvironment(lowering.build_args);
  TRY(ReadIgnored(lowering));

  TRY(CollectStages(lowering));
  TRY_ASSIGN(StageState * target, FindTarget(lowering));
  TRY(LinkCommands(lowering));
  // Beyond this point only triggers of base images add commands and stages.
  TRY_ASSIGN(auto needed, ResolveBases(lowering, target));
  for (const auto& stage : lowering.stages) {
    if (stage->done || !needed.contains(stage.get())) continue;
    TRY(LowerStage(lowering, *stage));
  }
  // The directive is what makes an error of them, unless a build argument took its place.
  bool by_directive = file.directives.check && !lowering.build_args.contains("BUILDKIT_DOCKERFILE_CHECK");
  lowering.place = by_directive && !options.check ? file.directives.check->span : Span();
  TRY(lowering.linter.Verdict());
  lowering.place = {};
  Finish(lowering, *target, needed, out);
  return graph::Validate(out->graph);
}

}  // namespace

Parsed<Lowered> Lower(const Dockerfile& file, const LowerOptions& options, ImageResolver& resolver,
                      std::vector<Warning>* warnings) {
  BuildArgs build_args;
  for (const auto& [name, value] : options.build_args) build_args[name] = value;
  std::optional<std::string> check = options.check;
  if (auto it = build_args.find("BUILDKIT_DOCKERFILE_CHECK"); it != build_args.end()) {
    check = it->second;
  }
  auto check_options = FileCheckOptions(file.directives, check);
  if (!check_options) {
    return std::unexpected(
        SourceError{std::move(check_options).error(), file.directives.check ? file.directives.check->span : Span()});
  }
  Lowering lowering(file, options, resolver, std::move(*check_options));
  lowering.build_args = std::move(build_args);
  Lowered out;
  Status status = LowerFile(lowering, &out);
  if (warnings != nullptr) *warnings = lowering.linter.warnings();
  if (!status) return std::unexpected(SourceError{std::move(status).error(), lowering.place});
  return out;
}

}  // namespace varve::dockerfile
