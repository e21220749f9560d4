// `varve explain [BUILD] [STEP]`: why steps of a build ran, from history.
#include <CLI/CLI.hpp>

#include "cache/root.h"
#include "cli/commands.h"
#include "cli/history_report.h"
#include "history/store.h"
#include "job/build_report.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/step_rules.h"
#include "job/why_report.h"

namespace varve::cli {

namespace {

class ExplainCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_option("build", build_, "Build: an id, or ^N for the Nth before the newest (default: the newest)");
    app.add_option("step", step_, "Stage, or a part of the instruction (default: all that ran or were replayed)");
    app.add_option("--format", format_, "text (default) or json");
  }

  Status Check() override {
    if (format_ == "text" || format_ == "json") return Ok();
    return Invalid("invalid --format \"{}\": use text or json", format_);
  }

  int Run(const job::GlobalFlags& global) override {
    history::History history(cache::RootDirectory(global.root), SystemClock());
    auto id = history.Find(build_);
    // One word may be a step of the newest build.
    if (!id && step_.empty() && !build_.empty()) {
      step_ = std::exchange(build_, "");
      auto newest = history.Find("");
      if (newest) id = newest;
    }
    if (!id) return Fail(id.error());
    auto build = history.Read(*id);
    if (!build) return Fail(build.error());
    std::vector<const history::Step*> chosen = Choose(*build);
    if (!step_.empty() && chosen.empty()) {
      Error error = NotFound("build {} has no step that \"{}\" names", build->id, step_);
      error.hint = fmt::format("varve history inspect {} lists its steps", build->id);
      return Fail(error);
    }
    job::ToStdout(format_ == "json" ? InJson(*build, chosen) : InText(*build, chosen));
    return job::kSuccess;
  }

 private:
  std::vector<const history::Step*> Choose(const history::Build& build) const {
    std::vector<const history::Step*> chosen;
    for (const history::Step& step : build.steps) {
      if (step.internal || step.source) continue;
      if (step_.empty() ? !step.why.empty() || !step.replayed.empty()
                        : job::MatchesStep(step_, {.name = step.name, .stage = step.stage})) {
        chosen.push_back(&step);
      }
    }
    return chosen;
  }

  std::string InText(const history::Build& build, const std::vector<const history::Step*>& chosen) const {
    std::string out = BuildLine(build) + "\n";
    std::vector<job::WhyStep> why;
    for (const history::Step* step : chosen) {
      if (!step->why.empty()) why.push_back({step->name, engine::ReasonsFromJson(step->reasons)});
      else out += fmt::format("\n{}\n  {}\n", step->name, WithoutReason(*step));
    }
    if (chosen.empty()) {
      history::Ratios ratios = RatiosOf(build);
      return out + (ratios.cached > 0 ? fmt::format("\nall {} steps were cached\n", ratios.cached) : "\nno step ran\n");
    }
    if (!step_.empty() || why.empty()) return out + (why.empty() ? "" : "\n") + job::WhyInFull(why);
    return out + "\n" + job::WhyReport(why) + "\n" + job::WhyInFull(why);
  }

  static std::string WithoutReason(const history::Step& step) {
    switch (step.fate) {
      case history::Fate::kCached:
        if (!step.replayed.empty()) {
          std::string text = fmt::format("{}\n  it saved {}", step.replayed, FormatDuration(step.saved));
          return step.shadow.empty() ? text : fmt::format("{}\n  {}", text, step.shadow);
        }
        if (!step.tier.empty()) return "cached: from " + step.tier;
        return fmt::format("cached: it saved {}", FormatDuration(step.saved));
      case history::Fate::kSkipped:
        return "not needed: what uses it was cached";
      case history::Fate::kCancelled:
        return "cancelled";
      default:
        return std::string(FateName(step.fate));
    }
  }

  static std::string InJson(const history::Build& build, const std::vector<const history::Step*>& chosen) {
    Json steps = Json::EmptyArray();
    for (const history::Step* step : chosen) {
      Json json = Json().Set("name", step->name).SetIf(!step->stage.empty(), "stage", step->stage);
      json.Set("outcome", FateName(step->fate)).SetIf(!step->why.empty(), "why", step->why);
      json.SetIf(!step->replayed.empty(), "replayed", step->replayed);
      json.SetIf(!step->shadow.empty(), "shadow", step->shadow);
      steps.Append(json.Set("reasons", step->reasons.is_null() ? Json::EmptyArray() : step->reasons));
    }
    return Json()
               .Set("build", build.id)
               .Set("status", StatusName(build.status))
               .Set("steps", std::move(steps))
               .Dump({.indent = 2}) +
           "\n";
  }

  static int Fail(const Error& error) {
    job::PrintCommandError(error);
    return job::ExitCodeOf(error);
  }

  std::string build_, step_, format_ = "text";
};

}  // namespace

std::unique_ptr<Command> MakeExplainCommand() { return std::make_unique<ExplainCommand>(); }

}  // namespace varve::cli
