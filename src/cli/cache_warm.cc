#include "cli/cache_warm.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>

#include "cli/build_display.h"
#include "cli/build_job.h"
#include "cli/build_report.h"
#include "cli/cache_offer.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/open_storage.h"
#include "cli/stop_signals.h"
#include "sys/namespace.h"
#include "tier/inspect.h"

namespace varve::cli {

namespace {

using Forecast = engine::Plan::Forecast;

// The layers that a tier has now.
Result<std::set<DiffId>> LayersIn(const tier::Spec& spec, Registries& registries, std::stop_token stop) {
  TRY_ASSIGN(auto storage, OpenStorage(spec, registries));
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
  app.add_option("context", contexts_, "Build contexts");
  app.add_option("-f,--file", files_, "Dockerfiles: of one context, or one of each")->allow_extra_args(false);
  app.add_option("--target", targets_, "Stages; of each Dockerfile")->allow_extra_args(false);
}

Status CacheWarm::Check() {
  if (contexts_.empty()) {
    Error error = Invalid("cache warm needs a context: a directory or a URL");
    error.hint = "for the current directory: varve cache warm --tier … .";
    return error;
  }
  parser_.SetContext(contexts_[0]);
  TRY_ASSIGN(BuildFlags flags, parser_.Finish());
  if (!flags.cache_to.empty()) return Invalid("cache warm writes to --tier: --cache-to is for builds");
  if (flags.no_cache) return Invalid("--no-cache and cache warm exclude each other: it moves what is cached");
  if (!tier_.empty()) {
    TRY_ASSIGN(to_, tier::ParseTier(tier_));
    to_->mode = tier::Mode::kMax;
    to_->ignore_error = false;
    flags.cache_to = {*to_};
  } else if (flags.cache_from.empty()) {
    return Invalid("cache warm needs --tier, where to bring it, or --cache-from, where to take it from");
  }
  return MakePlans(flags);
}

Status CacheWarm::MakePlans(const BuildFlags& flags) {
  if (files_.size() > 1 && contexts_.size() > 1 && files_.size() != contexts_.size()) {
    return Invalid("{} Dockerfiles and {} contexts: one of each, or several of one", files_.size(), contexts_.size());
  }
  const size_t count = std::max(files_.size(), contexts_.size());
  std::vector<std::string> targets = targets_;
  if (targets.empty()) targets.emplace_back();
  for (size_t i = 0; i < count; ++i) {
    for (const std::string& target : targets) {
      Plan& plan = plans_.emplace_back(Plan{.name = "", .flags = flags});
      plan.flags.context = contexts_[contexts_.size() == 1 ? 0 : i];
      if (!files_.empty()) plan.flags.file = files_[files_.size() == 1 ? 0 : i];
      plan.flags.target = target;
      plan.name = plan.flags.file.empty() ? plan.flags.context : plan.flags.file;
      if (!target.empty()) plan.name += ", target " + target;
    }
  }
  for (const Plan& plan : plans_) TRY(BuildJob::CheckFlags(plan.flags));
  return Ok();
}

Result<CacheWarm::Warmed> CacheWarm::Warm(const Plan& plan, Workspace& workspace, std::stop_token stop) {
  BuildJob job(plan.flags, workspace, *board_, stop);
  if (auto read = job.Read(); !read) return read.error().error;
  if (auto lowered = job.Lower(); !lowered) return lowered.error().error;
  Warmed warmed;
  const graph::Graph& graph = job.graph();
  std::vector<graph::Ref> found;
  {
    BoardObserver observer(*board_, graph);
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
    BoardObserver observer(*board_, graph);
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

int CacheWarm::Run(const GlobalFlags& global) {
  auto fail = [&](const Error& error) {
    if (board_) board_->Close();
    PrintError(error);
    return ExitCodeOf(error);
  };
  if (sys::CanMount()) {
    if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return fail(entered.error());
  }
  StopSignals signals;
  auto workspace = Workspace::Open(global);
  if (!workspace) return fail(workspace.error());
  bool all = true;
  for (const Plan& plan : plans_) {
    board_ = MakeBoard(plan.flags);
    auto warmed = Warm(plan, *workspace, signals.token());
    if (!warmed) {
      Error error = std::move(warmed).error();
      return fail(std::move(error).With(plan.name));
    }
    board_->Close();
    all = all && warmed->not_built.empty() && warmed->without_layer.empty();
    ToStdout(fmt::format("{}: {} step{} warm{}\n", plan.name, warmed->steps, warmed->steps == 1 ? " is" : "s are",
                         warmed->not_built.empty() ? "" : fmt::format(", {} not built", warmed->not_built.size())));
    ToStdout(Listed("not built anywhere", warmed->not_built) +
             Listed("its layer is nowhere to be had", warmed->without_layer));
    ToStderr(warmed->caches);
  }
  if (Status flushed = workspace->local.store->Flush(); !flushed) return fail(flushed.error());
  return all ? kSuccess : kBuildFailed;
}

}  // namespace varve::cli
