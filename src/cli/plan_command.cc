// `varve plan`: the path of a build up to the look-ups, and what would follow. Runs no step, pulls and
// unpacks nothing. Contexts are walked, git and http sources are fetched: keys need their content.
#include <CLI/CLI.hpp>
#include <map>

#include "base/log.h"
#include "cli/build_flag_parser.h"
#include "cli/commands.h"
#include "cli/plan_report.h"
#include "history/store.h"
#include "job/build_display.h"
#include "job/build_job.h"
#include "job/build_report.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "sys/namespace.h"

namespace varve::cli {

namespace {

// What steps cost the last time they ran in this project, by slot.
std::map<std::string, Nanos> PastTimes(const std::string& root, const std::string& project) {
  constexpr size_t kBuilds = 20;
  std::map<std::string, Nanos> times;
  history::History history(root, SystemClock());
  auto builds = history.List();
  if (!builds) return times;
  size_t read = 0;
  for (const history::Summary& summary : *builds) {
    if (summary.project != project || summary.ratios.ran == 0) continue;
    if (++read > kBuilds) break;
    auto build = history.Read(summary.id);
    if (!build) continue;
    for (const history::Step& step : build->steps) {
      if (step.fate == history::Fate::kRan && !step.slot.empty()) times.emplace(step.slot, step.wall);
    }
  }
  return times;
}

class PlanCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    parser_.Define(app, words());
    app.add_option("--format", format_, "text (default) or json");
  }

  Status Check() override {
    TRY_ASSIGN(flags_, parser_.Finish());
    if (!format_.empty() && format_ != "text" && format_ != "json") {
      return Invalid("invalid --format \"{}\": use text or json", format_);
    }
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    auto outputs = job::EffectiveOutputs(flags_);
    if (!outputs) return Fail(outputs.error());
    if (Status good = job::BuildJob::CheckFlags(flags_, *outputs); !good) return Fail(good.error());
    if (sys::CanMount()) {
      if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return Fail(entered.error());
    }
    job::StopSignals signals;
    auto workspace = job::Workspace::Open(global);
    if (!workspace) return Fail(workspace.error());
    auto config = job::ReadBuildConfig(workspace->root);
    if (!config) return Fail(config.error());
    // The plan is the output; progress is shown only to a person who waits.
    if (flags_.progress == job::ProgressMode::kAuto) flags_.progress = job::ProgressMode::kQuiet;
    board_ = job::MakeBoard(flags_);
    job::BuildJob job(flags_, *workspace, *board_, signals.token());
    if (auto read = job.Read(); !read) return FailAt(job, read.error());
    if (auto lowered = job.Lower(); !lowered) return FailAt(job, lowered.error());
    auto must_hit = job::MustHit(job.graph(), flags_.must_hit);
    if (!must_hit) return Fail(must_hit.error());

    job::BoardObserver observer(*board_, job.graph());
    bool want_data = job::NeedLayers(*outputs, flags_.attest);
    auto outcome = job.Run({.want_data = want_data, .dry_run = true, .max_age = config->max_age}, observer);
    if (!outcome) return Fail(outcome.error());
    if (outcome->error) return job::FailBuild(job.graph(), *outcome, job.context(), *board_);
    board_->Close();
    auto steps = PlanSteps(job.graph(), *outcome, PastTimes(workspace->root, job.project()));
    job::ToStdout(format_ == "json" ? PlanJson(job.graph(), *outcome, steps).Dump({.indent = 2}) + "\n"
                                    : PlanText(job.graph(), *outcome, steps));
    return CheckHits(job.graph(), *outcome, *must_hit);
  }

 private:
  // A step that waits for another one counts as that one: only what surely runs is a miss.
  static int CheckHits(const graph::Graph& graph, const engine::Outcome& outcome, const std::vector<bool>& must_hit) {
    int missed = 0;
    for (size_t i = 0; i < must_hit.size(); ++i) {
      bool runs = outcome.forecast[i] == engine::Plan::Forecast::kRun;
      if (!must_hit[i] || !runs) continue;
      ++missed;
      job::ToStderr(fmt::format("step \"{}\" is not cached: {}\n", graph.steps[i].name,
                                engine::Summarise(outcome.steps[i].reasons)));
    }
    if (missed == 0) return job::kSuccess;
    job::ToStderr(fmt::format("ERROR: {} step{} not cached, and --fail-on-cache-miss is given\n", missed,
                              missed == 1 ? " is" : "s are"));
    return job::kCacheMiss;
  }

  int Fail(const Error& error) {
    if (board_) board_->Close();
    job::PrintError(error);
    return job::ExitCodeOf(error);
  }

  int FailAt(const job::BuildJob& job, const dockerfile::SourceError& error) {
    if (job.context().dockerfile_name.empty()) return Fail(error.error);
    board_->Close();
    job::PrintErrorAt(error.error, job.context(), error.span);
    return job::ExitCodeOf(error.error);
  }

  BuildFlagParser parser_;
  job::BuildFlags flags_;
  std::string format_;
  std::unique_ptr<progress::Board> board_;
};

}  // namespace

std::unique_ptr<Command> MakePlanCommand() { return std::make_unique<PlanCommand>(); }

}  // namespace varve::cli
