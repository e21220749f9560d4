// The path of a build, in order. Each part's own rules are where it is called.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/fd.h"
#include "base/log.h"
#include "base/metric.h"
#include "cli/build_flag_parser.h"
#include "cli/commands.h"
#include "cli/context_facts.h"
#include "cli/report_flags.h"
#include "dockerfile/undeclared_args.h"
#include "job/build_display.h"
#include "job/build_history.h"
#include "job/build_job.h"
#include "job/build_report.h"
#include "job/build_reports.h"
#include "job/call_results.h"
#include "job/collect_after.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "sys/namespace.h"

namespace varve::cli {

namespace {

class BuildCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    parser_.Define(app, words());
    DefineReportFlags(app, reports_, words());
  }

  Status Check() override {
    TRY_ASSIGN(flags_, parser_.Finish());
    return job::FinishReportFlags(reports_);
  }

  int Run(const job::GlobalFlags& global) override {
    // 1. The command line means something, before anything is touched.
    auto outputs = job::EffectiveOutputs(flags_);
    if (!outputs) return Fail(outputs.error());
    if (Status good = job::BuildJob::CheckFlags(flags_, *outputs); !good) return Fail(good.error());
    const bool build = flags_.call.name == "build";
    Status writable = job::CheckDestinations(build ? *outputs : std::vector<exporter::Output>(),
                                             {flags_.iidfile, flags_.metadata_file});
    if (!writable) return Fail(writable.error());
    if (flags_.call.name == "subrequests.describe") {
      auto code = job::Deliver(job::DescribeResult(), flags_);
      return code ? *code : Fail(code.error());
    }
    // What a build before this one wrote; never a device.
    std::error_code ignored;
    if (std::filesystem::is_regular_file(flags_.iidfile, ignored)) unlink(flags_.iidfile.c_str());

    // Mounts are nobody else's and go when this process goes, however it goes. Most builds mount nothing.
    if (sys::CanMount()) sys::DeferPrivateMountNamespace();
    job::StopSignals signals;
    auto workspace = job::Workspace::Open(global);
    if (!workspace) return Fail(workspace.error());
    board_ = job::MakeBoard(flags_);
    if (!workspace->local.notice.empty()) board_->Warn({.text = workspace->local.notice});

    auto config = job::ReadBuildConfig(workspace->root);
    if (!config) return Fail(config.error());
    config_ = std::move(*config);
    flags_.trace.shadow_percent = flags_.trace_shadow.value_or(config_.trace_shadow);

    job::BuildJob job(flags_, *workspace, *board_, signals.token());
    int code = Build(job, *workspace, *outputs, signals.token());
    end_.exit_code = code;
    end_.tiers = job.CacheUses();
    if (reports_.any()) end_.hints = HintsOf(job);
    std::optional<history::Build> built;
    if (history_) built = history_->Finish(end_, *board_, config_);
    // Read once more below, when the workspace is gone.
    const std::string root = workspace->root;
    if (Status flushed = workspace->local.store->Flush(); !flushed) {
      LOG_WARN("{}", flushed.error().message);
    }
    job::EndBuild(*workspace);
    // 9. Keep within the budget, if anything was added to what is kept.
    job::Collected collected;
    if (Counter("snapshot.layers").value() > 0) {
      collected = job::CollectAfterBuild(*workspace, IsSilent(), signals.token());
    }
    // 10. Reports, of what was built and of what was removed.
    if (built) job::WriteReports(reports_, global, root, *built, collected);
    return code;
  }

 private:
  int Build(job::BuildJob& job, job::Workspace& workspace, const std::vector<exporter::Output>& outputs,
            const std::stop_token& stop) {
    // 2. Context and Dockerfile.
    auto read = job.Read();
    if (flags_.call.name == "build") history_.emplace(workspace, job, flags_, "build");
    for (const std::string& warning : job.context().warnings) board_->Warn({.text = warning});
    if (flags_.call.name == "lint") return Check(job, read);
    if (!read) {
      job::ShowWarnings(job.warnings(), *board_, job.context());
      return FailAt(job, read.error());
    }
    if (flags_.call.name == "targets") return Answer(job::TargetsResult(job.file(), job.context()));

    for (std::string& text : dockerfile::MisspeltBuildArgs(job.file(), flags_.build_args)) {
      board_->Warn({.text = std::move(text)});
    }
    for (std::string& text : dockerfile::UnknownFilteredStages(job.file(), flags_.no_cache_filter)) {
      board_->Warn({.text = std::move(text)});
    }

    // 3. Lowering asks for base images as it meets them.
    auto lowered = job.Lower();
    job::ShowWarnings(job.warnings(), *board_, job.context());
    if (!lowered) return FailAt(job, lowered.error());
    if (flags_.call.name == "outline") {
      return Answer(job::OutlineResult(job.lowered().outline, job.context()));
    }
    if (flags_.call.name == "graph") return Answer(job::GraphResult(job.graph()));

    // 4–7. Once more should the store turn out to be damaged: what is damaged is gone then, and made again.
    std::optional<job::ExportedBuild> exported;
    auto failed = RunAndExport(job, outputs, exported);
    for (int mends = 0; failed && mends < job::kMaxMends && CanBeRepeated(outputs); ++mends) {
      if (!job::MendAfter(failed->error, workspace, *board_, stop)) break;
      failed = RunAndExport(job, outputs, exported);
    }
    if (failed) return FailRun(job, *failed);
    end_.image = exported->image_id;
    end_.images = exported->images;

    // 8. What scripts read, and what people read.
    if (Status written = WriteResultFiles(*exported); !written) return Fail(written.error());
    board_->Close();
    if (flags_.quiet && !exported->image_id.empty()) job::ToStdout(exported->image_id + "\n");
    if (!IsSilent()) {
      job::PrintSummary(job.graph(), outcome_, outputs, SystemClock().Monotonic() - begin_);
      job::ToStderr(caches_);
      std::string hints =
          dockerfile::HintsSummary(FindHints(job.file(), flags_, job.context(), job.lowered().images, false));
      if (!hints.empty()) job::ToStderr(hints + "\n");
    }
    if (flags_.stats) job::PrintStats();
    return job::kSuccess;
  }

  // What kept the image from being made: a step, or something else.
  struct Failure {
    Error error;
    bool of_a_step = false;
  };

  // 4–6. The engine: sources, keys, look-ups, and what is left to run. 7. Outputs.
  std::optional<Failure> RunAndExport(job::BuildJob& job, const std::vector<exporter::Output>& outputs,
                                      std::optional<job::ExportedBuild>& exported) {
    const bool need_layers = job::NeedLayers(outputs, flags_.attest);
    auto failed = RunAndExport(job, outputs, exported, need_layers);
    // A layer that was to be left where it is may be there no more. Who wants it here has it made again.
    bool gone = failed && !failed->of_a_step && !need_layers &&
                (failed->error.code == Code::kCorrupt || failed->error.code == Code::kNotFound);
    if (!gone) return failed;
    board_->ExcuseErrors();
    return RunAndExport(job, outputs, exported, true);
  }

  std::optional<Failure> RunAndExport(job::BuildJob& job, const std::vector<exporter::Output>& outputs,
                                      std::optional<job::ExportedBuild>& exported, bool want_data) {
    job::BoardObserver observer(*board_, job.graph());
    engine::Observer& watched = history_->Watch(observer, job.graph());
    auto outcome = job.Run({.want_data = want_data, .max_age = config_.max_age, .shadows_later = true}, watched);
    if (!outcome) return Failure{std::move(outcome).error()};
    outcome_ = std::move(*outcome);
    end_.graph = &job.graph();
    end_.outcome = &outcome_;
    if (outcome_.error) {
      job.ExportFinished(outcome_);
      job.CacheSummary();  // counts what they cost
      WriteStats(job.graph(), outcome_);
      return Failure{*outcome_.error, true};
    }
    Status cached = Ok();
    std::optional<std::jthread> caches;
    if (job.ExportsCaches() && !job.ChecksReplays()) caches.emplace([&] { cached = job.ExportCaches(outcome_); });
    auto made = job.Export(outcome_, outputs);
    job.FinishShadows(outcome_);
    if (caches) caches->join();
    else cached = job.ExportCaches(outcome_);
    caches_ = job.CacheSummary();  // counts what they cost
    WriteStats(job.graph(), outcome_);
    if (!made) return Failure{std::move(made).error()};
    if (!cached) return Failure{std::move(cached).error()};
    exported = std::move(*made);
    return std::nullopt;
  }

  // What has gone to stdout cannot be taken back.
  static bool CanBeRepeated(const std::vector<exporter::Output>& outputs) {
    return std::ranges::none_of(outputs, [](const exporter::Output& output) { return output.dest == "-"; });
  }

  int FailRun(const job::BuildJob& job, const Failure& failure) {
    if (!failure.of_a_step) return Fail(failure.error);
    end_.error = failure.error;
    int code = job::FailBuild(job.graph(), outcome_, job.context(), *board_);
    return outcome_.cache_miss ? job::kCacheMiss : code;
  }

  // --check: warnings, and an error if there is one, are the answer. A context that cannot be opened
  // is an error as in a build.
  int Check(job::BuildJob& job, dockerfile::Parsed<void> so_far) {
    const job::BuildContext& context = job.context();
    if (!so_far && context.dockerfile_name.empty()) return FailAt(job, so_far.error());
    if (so_far) so_far = job.Lower();
    dockerfile::CheckReport report{
        .file_name = context.dockerfile_name, .source = context.dockerfile, .warnings = job.warnings()};
    if (!so_far) report.error = so_far.error();
    if (flags_.call.hints != job::CallFlag::Hints::kHide && !job.file().stages.empty()) {
      report.hints = FindHints(job.file(), flags_, context, job.lowered().images, true);
      report.hints_are_errors = flags_.call.hints == job::CallFlag::Hints::kError;
    }
    int code = Answer(job::CheckResult(report));
    if (!report.error) return code;
    job::PrintErrorAt(report.error->error, context, report.error->span);
    return job::ExitCodeOf(report.error->error);
  }

  int Answer(const job::CallResult& result) {
    board_->Close();
    auto code = job::Deliver(result, flags_);
    return code ? *code : Fail(code.error());
  }

  // The caching rules of `varve build --check`, with their remedies.
  std::vector<history::Warning> HintsOf(const job::BuildJob& job) const {
    std::vector<history::Warning> out;
    if (job.file().stages.empty()) return out;
    for (const dockerfile::CacheHint& hint :
         FindHints(job.file(), flags_, job.context(), job.lowered().images, false)) {
      out.push_back({.text = hint.reason,
                     .remedy = hint.remedy,
                     .file = job.context().dockerfile_name,
                     .line = hint.spans.empty() ? 0 : static_cast<uint32_t>(hint.spans[0].start_line),
                     .hint = true});
    }
    return out;
  }

  bool IsSilent() const {
    return flags_.quiet || flags_.progress == job::ProgressMode::kRawJson ||
           flags_.progress == job::ProgressMode::kNone || flags_.progress == job::ProgressMode::kQuiet;
  }

  Status WriteResultFiles(const job::ExportedBuild& exported) {
    if (!flags_.iidfile.empty() && !exported.image_id.empty()) {
      TRY(WriteFileAtomically(flags_.iidfile, exported.image_id));
    }
    if (!flags_.metadata_file.empty()) {
      TRY(WriteFileAtomically(flags_.metadata_file, exported.metadata.Dump({.indent = 2, .sort_keys = true}) + "\n"));
    }
    return Ok();
  }

  static void WriteStats(const graph::Graph& graph, const engine::Outcome& outcome) {
    if (const char* path = std::getenv("VARVE_STATS_FILE")) job::WriteStatsFile(path, graph, outcome);
  }

  int Fail(const Error& error) {
    end_.error = error;
    return job::FailWith(error, board_.get());
  }

  int FailAt(const job::BuildJob& job, const dockerfile::SourceError& error) {
    end_.error = error.error;
    return job::FailWith(error, job.context(), board_.get());
  }

  BuildFlagParser parser_;
  job::BuildFlags flags_;
  job::ReportFlags reports_;
  job::BuildConfig config_;
  const Nanos begin_ = SystemClock().Monotonic();
  std::unique_ptr<progress::Board> board_;
  std::string caches_;
  engine::Outcome outcome_;
  std::optional<job::BuildHistory> history_;
  job::BuildHistory::End end_;
};

}  // namespace

std::unique_ptr<Command> MakeBuildCommand() { return std::make_unique<BuildCommand>(); }

}  // namespace varve::cli
