// `varve history`: the builds of this state root.
#include <CLI/CLI.hpp>

#include "base/fd.h"
#include "cache/root.h"
#include "cli/commands.h"
#include "cli/history_report.h"
#include "history/store.h"
#include "history/trace.h"
#include "job/console.h"
#include "job/exit_code.h"

namespace varve::cli {

namespace {

constexpr const char* kRefHelp =
    "Build: an id or its beginning, or ^N for the Nth before the newest (default: the newest)";

class Stdout final : public progress::Writer {
 public:
  void Write(std::string_view text) override { job::ToStdout(text); }
};

class HistoryCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.require_subcommand(1);
    CLI::App* ls = app.add_subcommand("ls", "List builds, newest first");
    ls->add_option("--filter", filters_, "KEY=VALUE: ref, name, status, startedAt, completedAt, duration")
        ->allow_extra_args(false);
    ls->add_option("--format", format_, "table (default) or json");
    ls->add_flag("--no-trunc", whole_, "Whole names and times");
    On(ls, &HistoryCommand::List);

    CLI::App* inspect = app.add_subcommand("inspect", "All about one build");
    inspect->add_option("ref", ref_, kRefHelp);
    inspect->add_option("--format", format_, "pretty (default) or json");
    On(inspect, &HistoryCommand::Inspect);

    CLI::App* logs = app.add_subcommand("logs", "What a build's steps printed");
    logs->add_option("ref", ref_, kRefHelp);
    logs->add_option("--progress", progress_, "plain (default) or rawjson");
    On(logs, &HistoryCommand::Logs);

    CLI::App* trace = app.add_subcommand("trace", "A build as a timeline for ui.perfetto.dev");
    trace->add_option("ref", ref_, kRefHelp);
    trace->add_option("-o,--output", output_, "File (default: standard output)");
    On(trace, &HistoryCommand::Trace);

    CLI::App* rm = app.add_subcommand("rm", "Remove builds from the history");
    rm->add_option("ref", refs_, "Builds");
    rm->add_flag("--all", all_, "All builds that do not run");
    On(rm, &HistoryCommand::Remove);

    CLI::App* save = app.add_subcommand("export", "Builds with logs and timelines as one JSON document");
    save->add_option("ref", refs_, "Builds (default: the newest)");
    save->add_option("-o,--output", output_, "File (default: standard output)");
    save->add_flag("--all", all_, "All builds");
    On(save, &HistoryCommand::Export);
  }

  Status Check() override {
    auto one_of = [](const std::string& flag, const std::string& value,
                     std::initializer_list<std::string_view> known) -> Status {
      if (value.empty() || std::ranges::find(known, value) != known.end()) return Ok();
      return Invalid("invalid {} \"{}\"", flag, value);
    };
    TRY(one_of("--format", format_, {"table", "pretty", "json"}));
    TRY(one_of("--progress", progress_, {"auto", "plain", "rawjson"}));
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    history_.emplace(cache::RootDirectory(global.root), SystemClock());
    Status done = (this->*action_)();
    if (done) return job::kSuccess;
    job::PrintCommandError(done.error());
    return job::ExitCodeOf(done.error());
  }

 private:
  using Action = Status (HistoryCommand::*)();
  void On(CLI::App* app, Action action) {
    app->callback([this, action] { action_ = action; });
  }

  Status List() {
    Timestamp now = SystemClock().Now();
    TRY_ASSIGN(auto builds, history_->List());
    TRY_ASSIGN(builds, Filtered(std::move(builds), filters_, now));
    job::ToStdout(format_ == "json" ? ListJson(builds).Dump({.indent = 2}) + "\n" : ListText(builds, now, whole_));
    return Ok();
  }

  Status Inspect() {
    TRY_ASSIGN(auto build, Chosen());
    job::ToStdout(format_ == "json" ? InspectJson(build).Dump({.indent = 2}) + "\n" : InspectText(build));
    return Ok();
  }

  Status Logs() {
    TRY_ASSIGN(auto build, Chosen());
    TRY_ASSIGN(auto lines, history_->Log(build.id));
    static Stdout out;
    Replay(build, lines,
           progress_ == "rawjson" ? progress::MakeRawJsonDisplay(out) : progress::MakePlainDisplay(out, {}));
    return Ok();
  }

  Status Trace() {
    TRY_ASSIGN(auto build, Chosen());
    return Write(history::Trace(build));
  }

  Status Remove() {
    std::vector<std::string> ids;
    if (all_) {
      TRY_ASSIGN(auto builds, history_->List());
      for (const auto& build : builds) {
        if (build.status != history::BuildStatus::kRunning) ids.push_back(build.id);
      }
    } else if (refs_.empty()) {
      Error error = Invalid("no build is named");
      error.hint = "name builds, or pass --all";
      return error;
    }
    for (const std::string& ref : refs_) {
      TRY_ASSIGN(std::string id, history_->Find(ref));
      ids.push_back(std::move(id));
    }
    TRY(history_->Remove(ids));
    for (const std::string& id : ids) job::ToStdout(id + "\n");
    return Ok();
  }

  Status Export() {
    if (all_) {
      TRY_ASSIGN(auto builds, history_->List());
      refs_.clear();
      for (const auto& build : builds) refs_.push_back(build.id);
    } else if (refs_.empty()) {
      refs_.push_back("");
    }
    Json builds = Json::EmptyArray();
    for (const std::string& ref : refs_) {
      TRY_ASSIGN(std::string id, history_->Find(ref));
      TRY_ASSIGN(auto build, history_->Read(id));
      TRY_ASSIGN(auto lines, history_->Log(id));
      builds.Append(ExportJson(build, lines));
    }
    return Write(Json().Set("varve_history", 1).Set("builds", std::move(builds)));
  }

  Result<history::Build> Chosen() {
    TRY_ASSIGN(std::string id, history_->Find(ref_));
    return history_->Read(id);
  }

  Status Write(const Json& json) const {
    std::string text = json.Dump() + "\n";
    if (!output_.empty() && output_ != "-") return WriteFileAtomically(output_, text);
    job::ToStdout(text);
    return Ok();
  }

  std::optional<history::History> history_;
  Action action_ = nullptr;
  std::string ref_, format_, progress_, output_;
  std::vector<std::string> refs_, filters_;
  bool all_ = false, whole_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeHistoryCommand() { return std::make_unique<HistoryCommand>(); }

}  // namespace varve::cli
