// `varve doctor`: what keeps the cache of a project from working.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "cache/root.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/upkeep_stores.h"
#include "cli/version.h"
#include "doctor/diagnose.h"
#include "doctor/patch.h"
#include "doctor/report.h"
#include "history/store.h"

namespace varve::cli {

namespace {

// What instructions took when they last ran here, by their text. A build's name for a step is
// "[build 2/5] RUN make".
std::map<std::string, double> PastSeconds(const GlobalFlags& global) {
  constexpr size_t kBuilds = 50;
  std::map<std::string, double> out;
  history::History history(cache::RootDirectory(global.root), SystemClock());
  auto builds = history.List();
  if (!builds) return out;
  size_t read = 0;
  for (const history::Summary& summary : *builds) {
    if (summary.ratios.ran == 0) continue;
    if (++read > kBuilds) break;
    auto build = history.Read(summary.id);
    if (!build) continue;
    for (const history::Step& step : build->steps) {
      size_t text = step.name.find("] ");
      if (step.fate != history::Fate::kRan || text == step.name.npos) continue;
      out.emplace(step.name.substr(text + 2), std::chrono::duration<double>(step.wall).count());
    }
  }
  return out;
}

class DoctorCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_option("directory", directory_, "The project; default: this folder")->type_name("DIR");
    app.add_option("--format", format_, "text, json or sarif")
        ->check(CLI::IsMember({"text", "json", "sarif"}));
    app.add_option("-o,--output", output_, "Write the report to a file")->type_name("FILE");
    app.add_option("--fail-on", fail_on_,
                   "Exit with 1 when something of this severity, or worse, was found")
        ->check(CLI::IsMember({"never", "error", "warning", "note"}));
    app.add_option("--skip", skip_, "Leave out a rule")->type_name("RULE")->allow_extra_args(false);
    app.add_flag("--estimate", estimate_,
                 "Take costs from the history of builds on this machine where there is one");
    app.add_flag("--rules", rules_, "List the rules");
    app.add_flag("--fix", fix_,
                 "Show what can be fixed by rote as a patch, ask, and change the files");
    app.add_flag("-y,--yes", yes_, "With --fix: do not ask");
  }

  Status Check() override {
    if (yes_ && !fix_) return Invalid("--yes answers what --fix asks: give --fix as well");
    if (fix_ && (format_ != "text" || !output_.empty())) {
      return Invalid("--fix shows a patch: leave out --format and --output");
    }
    for (const std::string& list : skip_) {
      for (const std::string& name : Split(list, ',')) {
        if (doctor::FindRule(name) == nullptr) {
          return Hinted(Invalid("there is no rule \"{}\"", name),
                        "varve doctor --rules lists them");
        }
        options_.skip.insert(name);
      }
    }
    return Ok();
  }

  int Run(const GlobalFlags& global) override {
    if (rules_) {
      ToStdout(doctor::RulesText());
      return kSuccess;
    }
    auto project = doctor::OpenProject(directory_);
    if (!project) return FailWith(project.error());
    if (project->files.empty()) {
      return FailWith(Hinted(
          NotFound("{} has no Dockerfile, Compose or Bake file, workflow or script", directory_),
          "varve doctor DIR looks at another folder"));
    }
    std::map<std::string, double> seconds;
    if (estimate_) {
      seconds = PastSeconds(global);
      options_.seconds = [&](const std::string& instruction) -> std::optional<double> {
        auto it = seconds.find(instruction);
        if (it == seconds.end()) return std::nullopt;
        return it->second;
      };
    }
    std::vector<doctor::Finding> findings = doctor::Diagnose(*project, options_);
    if (fix_) return Fix(*project, findings);
    if (Status written = Write(Render(*project, findings)); !written)
      return FailWith(written.error());
    if (estimate_ && seconds.empty() && format_ == "text") {
      ToStdout("No build has run here yet: all costs are typical ones.\n");
    }
    return Fails(findings) ? kBuildFailed : kSuccess;
  }

 private:
  static Error Hinted(Error error, std::string hint) {
    error.hint = std::move(hint);
    return error;
  }

  std::string Render(const doctor::Project& project,
                     const std::vector<doctor::Finding>& findings) const {
    if (format_ == "json") return doctor::ToJson(project, findings).Dump({.indent = 2}) + "\n";
    if (format_ == "sarif") return doctor::ToSarif(findings, kVersion).Dump({.indent = 2}) + "\n";
    bool color =
        output_.empty() && isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
    return doctor::ToText(project, findings, {.color = color});
  }

  Status Write(const std::string& text) const {
    if (!output_.empty()) return WriteFileAtomically(output_, text);
    ToStdout(text);
    return Ok();
  }

  int Fix(const doctor::Project& project, const std::vector<doctor::Finding>& findings) {
    doctor::Patch patch = doctor::MakePatch(project, findings);
    if (patch.files.empty()) {
      ToStdout("There is nothing that can be fixed by rote.\n");
      return kSuccess;
    }
    ToStdout(doctor::ToUnifiedDiff(patch));
    std::set<std::string> changing;
    for (const doctor::Finding* finding : patch.fixed) {
      if (finding->fix->changes_image) changing.insert(finding->rule);
    }
    if (!changing.empty()) {
      std::vector<std::string> names(changing.begin(), changing.end());
      ToStderr(
          fmt::format("The image changes with {}; --skip leaves out a rule.\n", Join(names, ", ")));
    }
    size_t files = patch.files.size();
    if (!yes_ && !Confirm(fmt::format("Change {} file{}?", files, files == 1 ? "" : "s")))
      return kSuccess;
    for (const doctor::ChangedFile& file : patch.files) {
      std::filesystem::path path = std::filesystem::path(project.directory) / file.path;
      std::error_code unknown;
      auto mode =
          file.is_new
              ? 0644u
              : static_cast<unsigned>(std::filesystem::status(path, unknown).permissions()) & 0777u;
      if (Status written = WriteFileAtomically(path, file.after, mode); !written)
        return FailWith(written.error());
    }
    ToStderr(fmt::format("{} finding{} fixed in {} file{}.\n", patch.fixed.size(),
                         patch.fixed.size() == 1 ? "" : "s", files, files == 1 ? "" : "s"));
    if (!patch.postponed.empty()) {
      ToStderr(fmt::format("{} more wait{} for these: varve doctor --fix once more.\n",
                           patch.postponed.size(), patch.postponed.size() == 1 ? "s" : ""));
    }
    return kSuccess;
  }

  bool Fails(const std::vector<doctor::Finding>& findings) const {
    doctor::Tally tally = doctor::Count(findings);
    if (fail_on_ == "never") return false;
    if (fail_on_ == "error") return tally.errors > 0;
    if (fail_on_ == "warning") return tally.errors + tally.warnings > 0;
    return !findings.empty();
  }

  std::string directory_ = ".", format_ = "text", output_, fail_on_ = "warning";
  std::vector<std::string> skip_;
  bool estimate_ = false, rules_ = false, fix_ = false, yes_ = false;
  doctor::DiagnoseOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeDoctorCommand() { return std::make_unique<DoctorCommand>(); }

}  // namespace varve::cli
