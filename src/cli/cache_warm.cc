#include "cli/cache_warm.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>

#include "job/build_display.h"
#include "job/build_job.h"
#include "job/build_report.h"
#include "job/cache_offer.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/open_storage.h"
#include "job/stop_signals.h"
#include "sys/namespace.h"
#include "tier/inspect.h"

namespace varve::cli {

namespace {

using Forecast = engine::Plan::Forecast;

// The layers that a tier has now.
Result<std::set<DiffId>> LayersIn(const tier::Spec& spec, job::Registries& registries, std::stop_token stop) {
  TRY_ASSIGN(auto storage, job::OpenStorage(spec, registries));
  TRY_ASSIGN(auto stored, tier::ReadGroups(*storage, std::move(stop)));
  std::set<DiffId> layers;
  for (const tier::Group& group : stored.groups) {
    for (const tier::StoredLayer& layer : group.layers) layers.insert(layer.layer);
  }
  return layers;
}

std::string Listed(std::string_view what, const std::vector<std::string>& steps) {
  std::string text;
  for (const std::string& step : steps) text += fmt::format("  {}: {}\n", what, step);
  return text;
}

}  // namespace

void CacheWarm::Define(CLI::App& app) {
  parser_.Define(app);
  for (const char* name : {"context", "--file", "--target"}) app.remove_option(app.get_option(name));
  app.add_option("--tier", tier_, "The cache to bring it to, as --cache-to names it; without: this machine");
  app.add_option("--bake", bake_files_, "Bake file, whose targets are to be warm (repeatable)")
      ->allow_extra_args(false);
  app.add_option("--compose", compose_files_, "Compose file, whose services are to be warm (repeatable)")
      ->allow_extra_args(false);
  app.add_option("context", contexts_, "Build contexts; with --bake targets, with --compose services");
  app.add_option("-f,--file", files_, "Dockerfiles: of one context, or one of each")->allow_extra_args(false);
  app.add_option("--target", targets_, "Stages; of each Dockerfile")->allow_extra_args(false);
}

Status CacheWarm::Check() {
  const bool from_files = !bake_files_.empty() || !compose_files_.empty();
  if (!bake_files_.empty() && !compose_files_.empty()) return Invalid("--bake and --compose exclude each other");
  if (from_files && (!files_.empty() || !targets_.empty())) {
    Error error = Invalid("--file and --target are the file's own where --bake or --compose is given");
    error.hint = "name targets or services: varve cache warm --bake docker-bake.hcl TARGET…";
    return error;
  }
  if (contexts_.empty() && !from_files) {
    Error error = Invalid("cache warm needs a context: a directory or a URL");
    error.hint = "for the current directory: varve cache warm --tier … .";
    return error;
  }
  parser_.SetContext(from_files ? "." : contexts_[0]);
  TRY_ASSIGN(job::BuildFlags flags, parser_.Finish());
  if (!flags.cache_to.empty()) return Invalid("cache warm writes to --tier: --cache-to is for builds");
  if (flags.no_cache) return Invalid("--no-cache and cache warm exclude each other: it moves what is cached");
  if (!tier_.empty()) {
    TRY_ASSIGN(to_, tier::ParseTier(tier_));
    to_->mode = tier::Mode::kMax;
    to_->ignore_error = false;
    flags.cache_to = {*to_};
  } else if (flags.cache_from.empty() && !from_files) {
    return Invalid("cache warm needs --tier, where to bring it, or --cache-from, where to take it from");
  }
  flags_ = flags;
  return from_files ? Ok() : MakePlans(flags);
}

Status CacheWarm::ReadPlans(const job::GlobalFlags& global) {
  if (bake_files_.empty()) {
    TRY_ASSIGN(plans_, PlansOfCompose(compose_files_, contexts_));
  } else {
    TRY_ASSIGN(plans_, PlansOfBake(bake_files_, contexts_, flags_.allow, global));
  }
  for (WarmPlan& plan : plans_) {
    job::BuildFlags& flags = plan.flags;
    flags.cache_to = flags_.cache_to;
    if (!flags_.cache_from.empty()) flags.cache_from = flags_.cache_from;
    if (!flags_.platforms.empty()) flags.platforms = flags_.platforms;
    flags.progress = flags_.progress;
    flags.quiet = flags_.quiet;
    flags.no_cache = false;
    if (!to_ && flags.cache_from.empty()) {
      return Invalid("{} names no cache to take it from: give --cache-from, or --tier", plan.name);
    }
    TRY(job::BuildJob::CheckFlags(flags));
  }
  return Ok();
}

Status CacheWarm::MakePlans(const job::BuildFlags& flags) {
  if (files_.size() > 1 && contexts_.size() > 1 && files_.size() != contexts_.size()) {
    return Invalid("{} Dockerfiles and {} contexts: one of each, or several of one", files_.size(), contexts_.size());
  }
  const size_t count = std::max(files_.size(), contexts_.size());
  std::vector<std::string> targets = targets_;
  if (targets.empty()) targets.emplace_back();
  for (size_t i = 0; i < count; ++i) {
    for (const std::string& target : targets) {
      WarmPlan& plan = plans_.emplace_back(WarmPlan{.name = "", .flags = flags});
      plan.flags.context = contexts_[contexts_.size() == 1 ? 0 : i];
      if (!files_.empty()) plan.flags.file = files_[files_.size() == 1 ? 0 : i];
      plan.flags.target = target;
      plan.name = plan.flags.file.empty() ? plan.flags.context : plan.flags.file;
      if (!target.empty()) plan.name += ", target " + target;
    }
  }
  for (const WarmPlan& plan : plans_) TRY(job::BuildJob::CheckFlags(plan.flags));
  return Ok();
}

Result<CacheWarm::Warmed> CacheWarm::Warm(const WarmPlan& plan, Jobs& jobs, progress::Board& board,
                                          job::Workspace& workspace, std::stop_token stop) {
  auto& owned = jobs[plan.part.empty() ? plan.name : plan.part];
  owned = std::make_unique<job::BuildJob>(plan.flags, workspace, board, stop);
  job::BuildJob& job = *owned;
  for (const auto& [context, part] : plan.links) {
    auto other = jobs.find(part);
    CHECK(other != jobs.end());
    job.Link(context, *other->second);
  }
  if (auto read = job.Read(); !read) return read.error().error;
  if (auto lowered = job.Lower(); !lowered) return lowered.error().error;
  Warmed warmed;
  const graph::Graph& graph = job.graph();
  std::vector<graph::Ref> found;
  {
    job::BoardObserver observer(board, graph);
    TRY_ASSIGN(auto outcome, job.Run({.want_data = false, .dry_run = true}, observer));
    if (outcome.error) return std::move(*outcome.error);
    for (graph::StepIndex i = 0; i < graph.steps.size(); ++i) {
      if (graph::IsSource(graph.steps[i].op)) continue;
      Forecast forecast = outcome.forecast[i];
      if (forecast == Forecast::kRun || forecast == Forecast::kUnknown) {
        warmed.not_built.push_back(graph.steps[i].name);
      }
    }
    TRY_ASSIGN(auto records, job.Records(outcome));
    for (const auto& [step, record] : records) {
      for (uint32_t k = 0; k < record.outputs.size(); ++k) found.push_back({step, k});
    }
    if (to_) {
      TRY(job.ExportCaches(outcome));
      TRY_ASSIGN(auto layers, LayersIn(*to_, *workspace.registries, stop));
      std::set<DiffId> elsewhere = job.LayersOfImages();
      for (const auto& [step, record] : records) {
        bool there = std::ranges::all_of(record.outputs, [&](const cache::Rootfs& output) {
          return output.layers.empty() || layers.contains(output.layers.back()) ||
                 elsewhere.contains(output.layers.back());
        });
        if (there) ++warmed.steps;
        else warmed.without_layer.push_back(graph.steps[step].name);
      }
    }
  }
  if (!to_) {
    // All that is known is wanted, and nothing may run.
    job::BoardObserver observer(board, graph);
    TRY_ASSIGN(auto outcome, job.Run({.wanted = found, .must_hit_all = true}, observer));
    if (outcome.error && !outcome.cache_miss) return std::move(*outcome.error);
    std::vector<StepKey> keys;
    for (const graph::Ref& ref : found) keys.push_back(outcome.steps[ref.step].key);
    TRY_ASSIGN(auto kept, workspace.local.store->GetMany(keys));
    for (size_t i = 0; i < found.size(); ++i) {
      if (kept[i]) ++warmed.steps;
      else warmed.without_layer.push_back(graph.steps[found[i].step].name);
    }
  }
  warmed.caches = job.CacheSummary();
  return warmed;
}

int CacheWarm::Run(const job::GlobalFlags& global) {
  auto fail = [&](const Error& error) {
    if (!boards_.empty()) boards_.back()->Close();
    job::PrintError(error);
    return job::ExitCodeOf(error);
  };
  if (!bake_files_.empty() || !compose_files_.empty()) {
    if (Status read = ReadPlans(global); !read) return fail(read.error());
  }
  if (sys::CanMount()) {
    if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return fail(entered.error());
  }
  job::StopSignals signals;
  auto workspace = job::Workspace::Open(global);
  if (!workspace) return fail(workspace.error());
  bool all = true;
  Jobs jobs;
  for (const WarmPlan& plan : plans_) {
    progress::Board& board = *boards_.emplace_back(job::MakeBoard(plan.flags));
    auto warmed = Warm(plan, jobs, board, *workspace, signals.token());
    if (!warmed) {
      Error error = std::move(warmed).error();
      return fail(std::move(error).With(plan.name));
    }
    board.Close();
    all = all && warmed->not_built.empty() && warmed->without_layer.empty();
    job::ToStdout(
        fmt::format("{}: {} step{} warm{}\n", plan.name, warmed->steps, warmed->steps == 1 ? " is" : "s are",
                    warmed->not_built.empty() ? "" : fmt::format(", {} not built", warmed->not_built.size())));
    job::ToStdout(Listed("not built anywhere", warmed->not_built) +
                  Listed("its layer is nowhere to be had", warmed->without_layer));
    job::ToStderr(warmed->caches);
  }
  if (Status flushed = workspace->local.store->Flush(); !flushed) return fail(flushed.error());
  return all ? job::kSuccess : job::kBuildFailed;
}

}  // namespace varve::cli
