// `varve trace [BUILD] STEP`: what a step looked at in the layers that came from its build context.
#include <CLI/CLI.hpp>

#include "base/strings.h"
#include "cache/root.h"
#include "cli/commands.h"
#include "history/store.h"
#include "job/build_report.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/step_rules.h"
#include "job/upkeep_stores.h"
#include "tree/read_set.h"

namespace varve::cli {

namespace {

struct TracedStep {
  const history::Step* step = nullptr;
  std::vector<tree::ReadSet> layers;  // that came from the context, lowest first
};

std::vector<std::string> Asked(uint8_t facets) {
  std::vector<std::string> names;
  for (const std::string& name : Split(tree::FacetNames(facets), ',')) names.emplace_back(TrimSpace(name));
  return names;
}

std::string InText(const std::vector<TracedStep>& steps) {
  std::string out;
  for (const TracedStep& traced : steps) {
    if (!out.empty()) out += "\n";
    out += traced.step->name + "\n";
    for (size_t i = 0; i < traced.layers.size(); ++i) {
      const tree::ReadSet& set = traced.layers[i];
      std::string which = traced.layers.size() == 1 ? "" : fmt::format(", copy {} of {}", i + 1, traced.layers.size());
      out += fmt::format("  {} {} looked at{}\n", set.size(), set.size() == 1 ? "path" : "paths", which);
      for (const tree::Entry& entry : set) {
        out += fmt::format("    {:<16} /{}\n", tree::FacetNames(entry.facets), entry.path);
      }
    }
    if (traced.layers.empty()) out += "  nothing that it builds on came from the context\n";
  }
  return out;
}

std::string InJson(const history::Build& build, const std::vector<TracedStep>& steps) {
  Json list = Json::EmptyArray();
  for (const TracedStep& traced : steps) {
    Json layers = Json::EmptyArray();
    for (const tree::ReadSet& set : traced.layers) {
      Json paths = Json::EmptyArray();
      for (const tree::Entry& entry : set) {
        paths.Append(Json().Set("path", "/" + entry.path).Set("asked", Json::Strings(Asked(entry.facets))));
      }
      layers.Append(Json().Set("paths", std::move(paths)));
    }
    list.Append(Json().Set("name", traced.step->name).Set("key", traced.step->key).Set("layers", std::move(layers)));
  }
  return Json().Set("build", build.id).Set("steps", std::move(list)).Dump({.indent = 2}) + "\n";
}

class TraceCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_option("build", build_, "Build: an id, or ^N for the Nth before the newest (default: the newest)");
    app.add_option("step", step_, "Stage, or a part of the instruction (default: all that were traced)");
    app.add_option("--format", format_, "text (default) or json");
  }

  Status Check() override {
    if (format_ == "text" || format_ == "json") return Ok();
    return Invalid("invalid --format \"{}\": use text or json", format_);
  }

  int Run(const job::GlobalFlags& global) override {
    auto shown = Show(global);
    if (!shown) return job::FailWith(shown.error());
    job::ToStdout(*shown);
    return job::kSuccess;
  }

 private:
  Result<std::string> Show(const job::GlobalFlags& global) {
    history::History history(cache::RootDirectory(global.root), SystemClock());
    auto id = history.Find(build_);
    // One word may be a step of the newest build.
    if (!id && step_.empty() && !build_.empty()) {
      step_ = std::exchange(build_, "");
      if (auto newest = history.Find("")) id = newest;
    }
    TRY_ASSIGN(std::string ref, std::move(id));
    TRY_ASSIGN(history::Build build, history.Read(ref));
    TRY_ASSIGN(job::UpkeepStores stores, job::UpkeepStores::Open(global));
    std::vector<TracedStep> traced;
    bool named = false;
    for (const history::Step& step : build.steps) {
      if (step.internal || step.source || step.key.empty()) continue;
      if (!step_.empty() && !job::MatchesStep(step_, {.name = step.name, .stage = step.stage})) continue;
      named = true;
      TRY_ASSIGN(auto found, TraceOf(step, *stores.local.store));
      if (found) traced.push_back(std::move(*found));
    }
    if (!named && !step_.empty()) {
      Error error = NotFound("build {} has no step that \"{}\" names", build.id, step_);
      error.hint = fmt::format("varve history inspect {} lists its steps", build.id);
      return error;
    }
    if (traced.empty()) {
      Error error = NotFound("nothing is known of what {} looked at",
                             step_.empty() ? "steps of build " + build.id : "\"" + step_ + "\"");
      error.hint =
          "RUN steps are traced unless --no-trace, a comment or their powers say otherwise; their records "
          "may have left the cache";
      return error;
    }
    return format_ == "json" ? InJson(build, traced) : InText(traced);
  }

  static Result<std::optional<TracedStep>> TraceOf(const history::Step& step, cache::LocalStore& store) {
    TRY_ASSIGN(Digest key, Digest::Parse(step.key));
    TRY_ASSIGN(auto record, store.contents().Read(StepKey(key)));
    if (!record || !record->trace) return std::optional<TracedStep>();
    TracedStep traced{.step = &step, .layers = {}};
    for (const std::string& encoded : record->trace->reads) {
      TRY_ASSIGN(tree::ReadSet set, tree::DecodeReadSet(encoded));
      traced.layers.push_back(std::move(set));
    }
    return std::optional(std::move(traced));
  }

  std::string build_, step_, format_ = "text";
};

}  // namespace

std::unique_ptr<Command> MakeTraceCommand() { return std::make_unique<TraceCommand>(); }

}  // namespace varve::cli
