#include "cli/joined_build.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <thread>

#include "base/fd.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "job/build_display.h"
#include "job/build_history.h"
#include "job/build_report.h"
#include "job/collect_after.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "sys/namespace.h"

namespace varve::cli {

namespace {

class JoinedBuild {
 public:
  explicit JoinedBuild(JoinedRequest request) : request_(std::move(request)) {}

  int Run(const job::GlobalFlags& global) {
    if (Status good = job::CheckDestinations({}, {request_.metadata_file}); !good) return Fail(good.error());
    // Before the first thread, as for a single build.
    if (sys::CanMount()) {
      if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return Fail(entered.error());
    }
    job::StopSignals signals;
    auto workspace = job::Workspace::Open(global);
    if (!workspace) return Fail(workspace.error());
    board_ = job::MakeBoard(request_.shown);
    if (!workspace->local.notice.empty()) board_->Warn({.text = workspace->local.notice});
    for (const std::string& warning : request_.warnings) board_->Warn({.text = warning});
    auto config = job::ReadBuildConfig(workspace->root);
    if (!config) return Fail(config.error());

    JoinedJob job(request_.wording, *workspace, *board_, signals.token());
    for (JoinedJob::Part& part : request_.parts) {
      part.flags.trace.shadow_percent = part.flags.trace_shadow.value_or(config->trace_shadow);
      if (Status added = job.Add(std::move(part)); !added) return Fail(added.error());
    }
    job::BuildHistory history(*workspace, HeaderOf(job));
    int code = BuildAll(job, *config, history, *workspace, signals.token());
    end_.exit_code = code;
    end_.tiers = job.CacheUses();
    for (const JoinedJob::Part& part : job.parts()) {
      end_.images.insert(end_.images.end(), part.images.begin(), part.images.end());
    }
    history::Build built = history.Finish(end_, *board_, *config);
    const std::string root = workspace->root;
    if (Status flushed = workspace->local.store->Flush(); !flushed) LOG_WARN("{}", flushed.error().message);
    job::EndBuild(*workspace);
    job::Collected collected;
    if (Counter("snapshot.layers").value() > 0)
      collected = job::CollectAfterBuild(*workspace, IsSilent(), signals.token());
    job::WriteReports(request_.reports, global, root, built, collected);
    return code;
  }

 private:
  int BuildAll(JoinedJob& job, const job::BuildConfig& config, job::BuildHistory& history, job::Workspace& workspace,
               const std::stop_token& stop) {
    // 2. Contexts, Dockerfiles, one graph.
    auto prepared = job.Prepare();
    if (!prepared) {
      end_.error = prepared.error().error;
      return job::FailWith(prepared.error(), job.failed()->job->context(), board_.get());
    }
    // 3–4. Once more should the store turn out to be damaged: what is damaged is gone then.
    auto failed = RunAndExport(job, config, history);
    for (int mends = 0; failed && mends < job::kMaxMends; ++mends) {
      if (!job::MendAfter(*failed, workspace, *board_, stop)) break;
      failed = RunAndExport(job, config, history);
    }
    if (outcome_.error) return FailStep(job);
    if (failed) return Fail(*failed);
    if (Status written = WriteMetadata(job); !written) return Fail(written.error());
    board_->Close();
    if (!IsSilent()) {
      PrintParts(job);
      job::PrintSummary(job.graph(), outcome_, job.parts()[0].outputs, SystemClock().Monotonic() - begin_);
      job::ToStderr(caches_);
    }
    return job::kSuccess;
  }

  // The engine, then images, then caches.
  std::optional<Error> RunAndExport(JoinedJob& job, const job::BuildConfig& config, job::BuildHistory& history) {
    job::BoardObserver observer(*board_, job.graph());
    auto outcome = job.Run(request_.project, config.max_age, history.Watch(observer, job.graph()));
    if (!outcome) return std::move(outcome).error();
    outcome_ = std::move(*outcome);
    end_.graph = &job.graph();
    end_.outcome = &outcome_;
    if (outcome_.error) {
      job.ExportFinished(outcome_);
      job.CacheSummary();  // counts what they cost
      return outcome_.error;
    }
    Status cached = Ok();
    std::jthread caches([&] { cached = job.ExportCaches(outcome_); });
    Status exported = job.Export(outcome_);
    caches.join();
    if (exported) exported = cached;
    caches_ = job.CacheSummary();  // counts what they cost
    WriteStats(job);
    if (!exported) return std::move(exported).error();
    return std::nullopt;
  }

  int FailStep(const JoinedJob& job) {
    std::vector<const JoinedJob::Part*> parts;
    if (outcome_.failed_step) parts = job.PartsOf(*outcome_.failed_step);
    if (!parts.empty()) {
      std::vector<std::string> names;
      for (const auto* part : parts) names.push_back(part->name);
      outcome_.error->message = fmt::format("{}{} {}: {}", request_.wording.part, names.size() == 1 ? "" : "s",
                                            Join(names, ", "), outcome_.error->message);
    }
    end_.error = outcome_.error;
    WriteStats(job);
    const JoinedJob::Part& shown = parts.empty() ? job.parts()[0] : *parts[0];
    return job::FailBuild(job.graph(), outcome_, shown.job->context(), *board_);
  }

  history::Build HeaderOf(const JoinedJob& job) const {
    history::Build header;
    header.command = request_.command;
    header.project = header.context = request_.project;
    header.name = request_.name;
    header.dockerfile = request_.definition;
    for (const JoinedJob::Part& part : job.parts()) {
      header.tags.insert(header.tags.end(), part.flags.tags.begin(), part.flags.tags.end());
      for (const std::string& platform : part.flags.platforms) {
        if (std::ranges::find(header.platforms, platform) == header.platforms.end()) {
          header.platforms.push_back(platform);
        }
      }
    }
    return header;
  }

  // "web  shop-web  sha256:…  5 cached, 2 run", a line each.
  void PrintParts(const JoinedJob& job) const {
    size_t name_width = 0, image_width = 0;
    for (const auto& part : job.parts()) {
      name_width = std::max(name_width, part.name.size());
      image_width = std::max(image_width, part.image.size());
    }
    std::string text = "\n";
    for (const auto& part : job.parts()) {
      int cached = 0, ran = 0;
      for (graph::StepIndex step : part.steps) {
        if (graph::IsSource(job.graph().steps[step].op)) continue;
        cached += outcome_.steps[step].status == engine::StepStatus::kCached;
        ran += outcome_.steps[step].status == engine::StepStatus::kRan;
      }
      text += fmt::format("{:<{}}  {:<{}}  {}  {} cached, {} run\n", part.name, name_width, part.image, image_width,
                          part.image_id.substr(0, 19), cached, ran);
    }
    job::ToStderr(text);
  }

  Status WriteMetadata(const JoinedJob& job) const {
    if (request_.metadata_file.empty()) return Ok();
    Json all = Json::EmptyObject();
    for (const JoinedJob::Part& part : job.parts()) all.Set(part.name, part.metadata);
    return WriteFileAtomically(request_.metadata_file, all.Dump({.indent = 2, .sort_keys = true}) + "\n");
  }

  void WriteStats(const JoinedJob& job) const {
    if (const char* path = std::getenv("VARVE_STATS_FILE")) job::WriteStatsFile(path, job.graph(), outcome_);
  }

  bool IsSilent() const {
    const job::BuildFlags& shown = request_.shown;
    return shown.quiet || shown.progress == job::ProgressMode::kRawJson || shown.progress == job::ProgressMode::kNone ||
           shown.progress == job::ProgressMode::kQuiet;
  }

  int Fail(const Error& error) {
    end_.error = error;
    if (board_ != nullptr) return job::FailWith(error, board_.get());
    job::PrintCommandError(error);
    return job::ExitCodeOf(error);
  }

  JoinedRequest request_;
  const Nanos begin_ = SystemClock().Monotonic();
  std::unique_ptr<progress::Board> board_;
  std::string caches_;
  engine::Outcome outcome_;
  job::BuildHistory::End end_;
};

}  // namespace

int BuildJoined(JoinedRequest request, const job::GlobalFlags& global) {
  return JoinedBuild(std::move(request)).Run(global);
}

}  // namespace varve::cli
