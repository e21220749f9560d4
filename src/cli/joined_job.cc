#include "cli/joined_job.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "job/build_report.h"

namespace varve::cli {

namespace {

std::string RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) != nullptr ? resolved : path;
}

// Directories have the same name in all graphs, so that those that services share are one source.
std::string SourceName(const std::string& directory) { return "dir:" + RealPath(directory); }

// The files of a job, by what its own graph calls them.
std::map<std::string, std::string> DirectoriesOf(const job::BuildContext& context) {
  std::map<std::string, std::string> directories = context.named_directories;
  directories["context"] = context.directory;
  return directories;
}

// There are no two exports to one place (tier::CheckExports); an open one may have got a verify-key.
bool IsSamePlace(const tier::Spec& a, const tier::Spec& b) { return a.Name() == b.Name() && a.store == b.store; }

}  // namespace

Status JoinedJob::Add(Part part) {
  auto outputs = job::EffectiveOutputs(part.flags);
  if (!outputs) return Error(std::move(outputs).error()).With(NameOf(part));
  part.outputs = std::move(*outputs);
  if (Status good = job::BuildJob::CheckFlags(part.flags, part.outputs); !good) {
    return Error(std::move(good).error()).With(NameOf(part));
  }
  if (Status good = job::CheckDestinations(part.outputs); !good)
    return Error(std::move(good).error()).With(NameOf(part));
  WarnOfSharedFiles(part);
  parts_.push_back(std::move(part));
  return Ok();
}

// As in Buildx the last one's archive stays; which one that is, chance decides.
void JoinedJob::WarnOfSharedFiles(const Part& part) {
  auto is_file = [](const exporter::Output& output) {
    return output.type != exporter::OutputType::kLocal && output.tar && !output.dest.empty() && output.dest != "-";
  };
  auto path = [](const exporter::Output& output) { return std::filesystem::absolute(output.dest).lexically_normal(); };
  for (const Part& other : parts_) {
    for (const exporter::Output& mine : part.outputs) {
      bool same = is_file(mine) && std::ranges::any_of(other.outputs, [&](const exporter::Output& output) {
                    return is_file(output) && path(output) == path(mine);
                  });
      if (same)
        board_.Warn({.text = fmt::format("{} and {} both write {}: one image is lost", NameOf(other), NameOf(part),
                                         mine.dest)});
    }
  }
}

dockerfile::Parsed<void> JoinedJob::Prepare() {
  std::vector<graph::Graph> graphs;
  for (Part& part : parts_) {
    part.job = std::make_unique<job::BuildJob>(part.flags, workspace_, board_, stop_);
    part.job->ShowWith(*parts_.front().job);
    if (auto prepared = PrepareOne(part); !prepared) {
      failed_ = &part;
      dockerfile::SourceError error = prepared.error();
      error.error.message = fmt::format("{}: {}", NameOf(part), error.error.message);
      return std::unexpected(std::move(error));
    }
    graphs.push_back(part.job->graph());
  }
  graph::Joined joined = graph::Join(std::move(graphs));
  size_t wanted = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    std::set<graph::StepIndex> steps(joined.places[i].begin(), joined.places[i].end());
    parts_[i].steps.assign(steps.begin(), steps.end());
    parts_[i].first_wanted = wanted;
    for (auto& [platform, lowered] : parts_[i].job->platforms().results) {
      dockerfile::MoveReferences(lowered, joined, i);
    }
    parts_[i].job->MoveScans(joined, i);
    wanted += parts_[i].job->Wanted().size();
  }
  graph_ = std::move(joined.graph);
  return {};
}

dockerfile::Parsed<void> JoinedJob::PrepareOne(Part& part) {
  if (auto read = part.job->Read(); !read) {
    dockerfile::SourceError error = read.error();
    // The hint is about flags of `varve build`, which nobody wrote here.
    if (error.error.code == Code::kNotFound) {
      error.error.hint = wording_.missing_dockerfile;
    }
    return std::unexpected(std::move(error));
  }
  for (const std::string& warning : part.job->context().warnings) {
    board_.Warn({.text = NameOf(part) + ": " + warning});
  }
  for (const auto& [context, name] : part.links) {
    auto other = std::ranges::find(parts_, name, &Part::name);
    CHECK(other != parts_.end() && other->job != nullptr);
    part.job->Link(context, *other->job);
  }
  auto lowered = part.job->Lower();
  job::ShowWarnings(part.job->warnings(), board_, part.job->context());
  if (lowered) NameSteps(part);
  return lowered;
}

// Steps say whose they are, and sources which directory they are. What came from another part
// has its names already, and joins it.
void JoinedJob::NameSteps(Part& part) {
  auto directories = DirectoriesOf(part.job->context());
  for (graph::Step& step : part.job->platforms().graph.steps) {
    if (auto* local = std::get_if<graph::LocalSource>(&step.op)) {
      if (auto it = directories.find(local->name); it != directories.end()) {
        local->name = SourceName(it->second);
      }
    }
    if (step.name.starts_with('[') && !step.name.starts_with("[internal]")) {
      step.name.insert(1, part.name + " ");
    }
  }
}

Status JoinedJob::CollectRunnerOptions(exec::RunnerOptions& all) {
  for (Part& part : parts_) {
    TRY_ASSIGN(auto own, part.job->MakeRunnerOptions(""));
    const bool first = &part == &parts_.front();
    auto conflict = [&](std::string_view what) {
      Error error = Invalid("{}: {} has another value than in the {}s before", NameOf(part), what, wording_.part);
      error.hint = wording_.conflict;
      return error;
    };
    if (first) {
      all = own;
      all.directories.clear();
    }
    if (own.mount_namespace != all.mount_namespace) return conflict("BUILDKIT_CACHE_MOUNT_NS");
    for (const auto& [name, directory] : DirectoriesOf(part.job->context())) {
      all.directories[SourceName(directory)] = directory;
    }
    for (const auto& [id, source] : own.secrets) {
      auto known = all.secrets.emplace(id, source).first;
      if (known->second.path != source.path || known->second.variable != source.variable) {
        return conflict("the secret " + id);
      }
    }
    if (first) continue;
    for (const exec::SshAgent& agent : own.ssh) {
      auto paths = [&](const Part& of) {
        auto flag = std::ranges::find(of.flags.ssh, agent.id, &job::SshFlag::id);
        return flag == of.flags.ssh.end() ? std::nullopt : std::optional(flag->paths);
      };
      for (const Part& before : parts_) {
        if (&before == &part) break;
        if (paths(before) && paths(before) != paths(part)) return conflict("the ssh agent " + agent.id);
      }
      if (std::ranges::find(all.ssh, agent.id, &exec::SshAgent::id) == all.ssh.end()) all.ssh.push_back(agent);
    }
  }
  return Ok();
}

Result<engine::Outcome> JoinedJob::Run(const std::string& project, const std::vector<job::AgeRule>& max_age,
                                       engine::Observer& observer) {
  exec::RunnerOptions options;
  TRY(CollectRunnerOptions(options));
  job::GraphRun run{.graph = graph_, .wanted = {}, .runner = std::move(options), .project = project, .salt = {}};
  for (const Part& part : parts_) {
    std::vector<graph::Ref> wanted = part.job->Wanted();
    run.wanted.insert(run.wanted.end(), wanted.begin(), wanted.end());
  }
  run.max_age = job::AgeLimits(graph_, {}, max_age);
  run.trace = parts_.front().flags.trace;
  job::BuildFlags caches;
  auto add = [](const std::vector<tier::Spec>& from, std::vector<tier::Spec>& to) {
    for (const tier::Spec& spec : from) {
      if (std::ranges::find(to, spec) == to.end()) to.push_back(spec);
    }
  };
  for (const Part& part : parts_) {
    add(part.flags.cache_from, caches.cache_from);
    add(part.flags.cache_to, caches.cache_to);
  }
  // One place with the same options is one cache; with others it is two exports that race.
  TRY(tier::CheckExports(caches.cache_to));
  TRY_ASSIGN(tiers_, job::CacheTiers::Open(caches, workspace_, false, stop_));
  run.tiers = tiers_.get();
  run.share_for = [this](const tier::Spec& spec) {
    job::CacheTiers::Share share{.steps = std::vector<char>(graph_.steps.size()), .wanted = {}};
    for (const Part& part : parts_) {
      bool names_it =
          std::ranges::any_of(part.flags.cache_to, [&](const tier::Spec& to) { return IsSamePlace(to, spec); });
      if (!names_it) continue;
      for (graph::StepIndex step : part.steps) share.steps[step] = true;
      std::vector<graph::Ref> wanted = part.job->Wanted();
      share.wanted.insert(share.wanted.end(), wanted.begin(), wanted.end());
    }
    return share;
  };
  run.images = &images_;
  job::BuiltGraph built{.graph = &graph_, .started = SystemClock().Now()};
  run.pins = &built.pins;
  // An image is laid beside the parts that name it: it is one of them, as it was.
  std::vector<job::PreviousImages::Build> builds;
  for (const Part& part : parts_) {
    std::set<std::string> named;
    for (const tier::Spec& spec : part.flags.cache_from) named.insert(spec.place);
    if (!named.empty()) builds.push_back({std::as_const(*part.job).platforms(), std::move(named)});
  }
  job::PreviousImages previous(tiers_->images(), tiers_->chain(), workspace_, board_, std::move(builds), false);
  if (!tiers_->images().empty()) run.previous = &previous;
  auto outcome = job::RunGraph(std::move(run), workspace_, observer, stop_);
  for (const Part& part : parts_) part.job->set_built(built);
  tiers_->WarnOfFailures(board_);
  return outcome;
}

// The part's own share of what was wanted.
engine::Outcome JoinedJob::OwnOutcome(const Part& part, const engine::Outcome& outcome) const {
  engine::Outcome own = outcome;
  size_t count = part.job->Wanted().size();
  auto first = outcome.wanted.begin() + static_cast<ptrdiff_t>(part.first_wanted);
  own.wanted.assign(first, first + static_cast<ptrdiff_t>(count));
  return own;
}

Status JoinedJob::Export(const engine::Outcome& outcome) {
  for (Part& part : parts_) {
    auto exported = part.job->Export(OwnOutcome(part, outcome), part.outputs);
    if (!exported) return Error(std::move(exported).error()).With(NameOf(part));
    part.image_id = exported->image_id;
    part.metadata = std::move(exported->metadata);
    part.images = std::move(exported->images);
  }
  return Ok();
}

// What a cache gets is an outcome in which the others' steps have not been.
JoinedJob::Shares JoinedJob::SharesOf(const engine::Outcome& outcome) const {
  Shares shares;
  for (const Part& part : parts_) {
    for (const tier::Spec& spec : part.flags.cache_to) {
      auto share = std::ranges::find_if(shares, [&](const auto& of) { return IsSamePlace(of.first, spec); });
      if (share == shares.end()) {
        share = shares.insert(shares.end(), {spec, outcome});
        share->second.wanted.clear();
        for (engine::StepOutcome& step : share->second.steps) step.key = {};
      }
      for (graph::StepIndex step : part.steps) {
        share->second.steps[step].key = outcome.steps[step].key;
      }
      if (outcome.error) continue;
      engine::Outcome own = OwnOutcome(part, outcome);
      auto& wanted = share->second.wanted;
      wanted.insert(wanted.end(), own.wanted.begin(), own.wanted.end());
    }
  }
  return shares;
}

job::BuiltSteps JoinedJob::Built(const Shares& shares, const tier::Spec& spec) const {
  auto share = std::ranges::find_if(shares, [&](const auto& of) { return IsSamePlace(of.first, spec); });
  CHECK(share != shares.end());
  return {graph_, share->second, images_, parts_.front().job->lowered().cache_mount_namespace};
}

Status JoinedJob::ExportCaches(const engine::Outcome& outcome) {
  const Shares shares = SharesOf(outcome);
  return tiers_->Export([&](const tier::Spec& spec) { return Built(shares, spec); }, job::StoresOf(workspace_), board_,
                        stop_);
}

void JoinedJob::ExportFinished(const engine::Outcome& outcome) {
  if (tiers_ == nullptr || stop_.stop_requested() || outcome.error->code == Code::kCorrupt) return;
  const Shares shares = SharesOf(outcome);
  tiers_->ExportFinished([&](const tier::Spec& spec) { return Built(shares, spec); }, job::StoresOf(workspace_), board_,
                         stop_);
}

std::vector<const JoinedJob::Part*> JoinedJob::PartsOf(graph::StepIndex step) const {
  std::vector<const Part*> found;
  for (const Part& part : parts_) {
    if (std::ranges::binary_search(part.steps, step)) found.push_back(&part);
  }
  return found;
}

}  // namespace varve::cli
