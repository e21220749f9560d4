// `varve doctor`: what keeps the cache of a project from working.
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <set>

#include "base/fd.h"
#include "base/log.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/doctor_history.h"
#include "cli/doctor_proof.h"
#include "doctor/diagnose.h"
#include "doctor/images.h"
#include "doctor/patch.h"
#include "doctor/report.h"
#include "job/build_display.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "job/upkeep_stores.h"
#include "job/version.h"
#include "job/workspace.h"
#include "sys/namespace.h"

namespace varve::cli {

namespace {

class DoctorCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_option("directory", directory_, "The project; default: this folder")->type_name("DIR");
    app.add_option("--format", format_, "text, json or sarif")->check(CLI::IsMember({"text", "json", "sarif"}));
    app.add_option("-o,--output", output_, "Write the report to a file")->type_name("FILE");
    app.add_option("--fail-on", fail_on_, "Exit with 1 when something of this severity, or worse, was found")
        ->check(CLI::IsMember({"never", "error", "warning", "note"}));
    app.add_option("--skip", skip_, "Leave out a rule")->type_name("RULE")->allow_extra_args(false);
    app.add_flag("--estimate", estimate_, "Take costs from the history of builds on this machine where there is one");
    app.add_flag("--rules", rules_, "List the rules");
    app.add_flag("--fix", fix_,
                 "Show what can be fixed by rote as a patch, ask, build before and after, and change "
                 "the files of images that stay the same");
    app.add_flag("-y,--yes", yes_, "With --fix: do not ask");
    app.add_flag("--no-verify", no_verify_, "With --fix: change the files without building");
    app.add_flag("--image-may-change", image_may_change_,
                 "With --fix: also fixes by which the image changes; what differs is shown");
    app.add_option("--build-arg", build_args_, "With --fix: a build argument that the project does not say")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
    app.add_option("--secret", secrets_, "With --fix: a secret that a build needs, as of varve build")
        ->type_name("id=NAME,src=FILE")
        ->allow_extra_args(false);
    app.add_option("--progress", progress_, "With --fix: auto, plain, tty or quiet")->type_name("MODE");
  }

  Status Check() override {
    if (yes_ && !fix_) return Invalid("--yes answers what --fix asks: give --fix as well");
    bool about_fix = no_verify_ || image_may_change_ || !secrets_.empty() || !build_args_.empty();
    if (about_fix && !fix_) {
      return Invalid(
          "--no-verify, --image-may-change, --build-arg and --secret are about --fix: give it as "
          "well");
    }
    TRY_ASSIGN(proof_.progress, job::ParseProgressMode(progress_));
    for (const std::string& text : secrets_) {
      TRY_ASSIGN(job::SecretFlag secret, job::ParseSecret(text));
      proof_.secrets.push_back(std::move(secret));
    }
    for (const std::string& text : build_args_) {
      size_t equals = text.find('=');
      if (equals == text.npos) return Invalid("invalid --build-arg \"{}\": NAME=VALUE is expected", text);
      proof_.build_args.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
    if (fix_ && (format_ != "text" || !output_.empty())) {
      return Invalid("--fix shows a patch: leave out --format and --output");
    }
    for (const std::string& list : skip_) {
      for (const std::string& name : Split(list, ',')) {
        if (doctor::FindRule(name) == nullptr) {
          return Hinted(Invalid("there is no rule \"{}\"", name), "varve doctor --rules lists them");
        }
        options_.skip.insert(name);
      }
    }
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    if (rules_) {
      job::ToStdout(doctor::RulesText());
      return job::kSuccess;
    }
    auto project = doctor::OpenProject(directory_);
    if (!project) return job::FailWith(project.error());
    if (project->files.empty()) {
      return job::FailWith(
          Hinted(NotFound("{} has no Dockerfile, Compose or Bake file, workflow or script", directory_),
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
    PastBuilds past(global, project->directory);
    options_.use_of_copy = [&past](const std::string& folder, const std::string& copy, const std::string& run) {
      return past.UseOfCopy(folder, copy, run);
    };
    std::vector<doctor::Finding> findings = doctor::Diagnose(*project, options_);
    if (fix_) return Fix(global, *project, findings);
    if (Status written = Write(Render(*project, findings)); !written) return job::FailWith(written.error());
    if (estimate_ && seconds.empty() && format_ == "text") {
      job::ToStdout("No build has run here yet: all costs are typical ones.\n");
    }
    return Fails(findings) ? job::kBuildFailed : job::kSuccess;
  }

 private:
  static Error Hinted(Error error, std::string hint) {
    error.hint = std::move(hint);
    return error;
  }

  std::string Render(const doctor::Project& project, const std::vector<doctor::Finding>& findings) const {
    if (format_ == "json") return doctor::ToJson(project, findings).Dump({.indent = 2}) + "\n";
    if (format_ == "sarif") return doctor::ToSarif(findings, job::kVersion).Dump({.indent = 2}) + "\n";
    bool color = output_.empty() && isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
    return doctor::ToText(project, findings, {.color = color});
  }

  Status Write(const std::string& text) const {
    if (!output_.empty()) return WriteFileAtomically(output_, text);
    job::ToStdout(text);
    return Ok();
  }

  // The fixes that are not refused, as a patch. Findings without one are left out.
  static doctor::Patch PatchOf(const doctor::Project& project, const std::vector<doctor::Finding>& findings,
                               const std::set<std::string>& refused_files, bool may_change) {
    std::vector<doctor::Finding> chosen;
    for (const doctor::Finding& finding : findings) {
      if (!finding.fix || (finding.fix->changes_image && !may_change)) continue;
      if (!refused_files.contains(finding.fix->file)) chosen.push_back(finding);
    }
    return doctor::MakePatch(project, chosen);
  }

  int Fix(const job::GlobalFlags& global, const doctor::Project& project,
          const std::vector<doctor::Finding>& findings) {
    doctor::Patch patch = PatchOf(project, findings, {}, image_may_change_);
    std::set<std::string> changing;
    for (const doctor::Finding& finding : findings) {
      if (finding.fix && finding.fix->changes_image && !image_may_change_) changing.insert(finding.rule);
    }
    if (!changing.empty()) {
      job::ToStderr(fmt::format("Left out, since the image changes: {}. --image-may-change takes them in.\n",
                                Join(std::vector<std::string>(changing.begin(), changing.end()), ", ")));
    }
    if (patch.files.empty()) {
      job::ToStdout(changing.empty() ? "There is nothing that can be fixed by rote.\n"
                                     : "There is nothing else that can be fixed by rote.\n");
      return job::kSuccess;
    }
    job::ToStdout(doctor::ToUnifiedDiff(patch));
    auto images = doctor::ImagesTouchedBy(project, patch);
    if (!yes_ && !job::Confirm(Question(patch.files.size(), no_verify_ ? 0 : images.size()))) return job::kSuccess;
    if (no_verify_) {
      job::ToStderr("Nothing was built: that images stay the same is not proven.\n");
    } else if (!images.empty()) {
      int code = Prove(global, project, findings, patch);
      if (code != job::kSuccess) return code;
    } else {
      job::ToStderr("No image has any of these files in it, or is described by them.\n");
    }
    return WritePatch(project, patch);
  }

  static std::string Question(size_t files, size_t images) {
    std::string question = fmt::format("Change {} file{}", files, files == 1 ? "" : "s");
    if (images > 0) {
      question += fmt::format(", where building {} image{} before and after shows no difference", images,
                              images == 1 ? "" : "s");
    }
    return question + "?";
  }

  // Takes out of the patch what is not proven. The exit code is that of an error of the machine.
  int Prove(const job::GlobalFlags& global, const doctor::Project& project,
            const std::vector<doctor::Finding>& findings, doctor::Patch& patch) {
    if (sys::CanMount()) {
      if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return job::FailWith(entered.error());
    }
    job::StopSignals signals;
    auto workspace = job::Workspace::Open(global);
    if (!workspace) return job::FailWith(workspace.error());
    auto board = job::MakeBoard({.progress = proof_.progress});
    ImageProver prover(project.directory, proof_, *workspace, *board, signals.token());
    std::string said;
    // Without the fixes of an image that changes, another one that has the same files in it may
    // change or not: it is looked at again. Each round refuses a file, so that this ends.
    for (bool again = true; again && !patch.files.empty();) {
      again = false;
      said.clear();
      for (const doctor::TouchedImage& image : doctor::ImagesTouchedBy(project, patch)) {
        auto verdict = prover.Prove(image, patch);
        if (!verdict) {
          board->Close();
          return job::FailWith(verdict.error());
        }
        said += VerdictText(image, *verdict);
        bool wanted = image_may_change_ && verdict->kind == Verdict::Kind::kDiffers;
        if (verdict->proven() || wanted) continue;
        again = true;
        refused_.insert(image.files.begin(), image.files.end());
        refusals_ += VerdictText(image, *verdict);
      }
      if (again) patch = PatchOf(project, findings, refused_, image_may_change_);
    }
    if (Status flushed = workspace->local.store->Flush(); !flushed) LOG_WARN("{}", flushed.error().message);
    board->Close();
    if (!said.empty() && !patch.files.empty()) job::ToStderr("\n" + said);
    return job::kSuccess;
  }

  int WritePatch(const doctor::Project& project, const doctor::Patch& patch) {
    auto path_of = [&](const doctor::ChangedFile& file) { return project.directory + "/" + file.path; };
    for (const doctor::ChangedFile& file : patch.files) {
      if (Status same = CheckUnchanged(path_of(file), file); !same) return job::FailWith(same.error());
    }
    for (const doctor::ChangedFile& file : patch.files) {
      if (Status written = WriteFile(path_of(file), file); !written) return job::FailWith(written.error());
    }
    size_t files = patch.files.size();
    if (files > 0) {
      job::ToStderr(fmt::format("{} finding{} fixed in {} file{}.\n", patch.fixed.size(),
                                patch.fixed.size() == 1 ? "" : "s", files, files == 1 ? "" : "s"));
    }
    if (!patch.postponed.empty()) {
      job::ToStderr(fmt::format("{} more wait{} for these: varve doctor --fix once more.\n", patch.postponed.size(),
                                patch.postponed.size() == 1 ? "s" : ""));
    }
    if (refused_.empty()) return job::kSuccess;
    job::ToStderr(fmt::format("Not changed: {}.\n{}",
                              Join(std::vector<std::string>(refused_.begin(), refused_.end()), ", "), refusals_));
    job::ToStderr(
        "hint: --skip RULE leaves out a fix; --secret and --build-arg give a build what it needs; "
        "--no-verify changes files without building\n");
    return job::kBuildFailed;
  }

  // Only what was shown and proven is changed, nothing that somebody has written since.
  static Status CheckUnchanged(const std::string& path, const doctor::ChangedFile& file) {
    auto now = ReadFile(path);
    if (!now && now.error().code != Code::kNotFound) return now.error();
    if (now.has_value() != file.is_new && now.value_or("") == file.before) return Ok();
    return Hinted(Invalid("{} has changed since doctor read it; nothing was written", file.path),
                  "run varve doctor --fix again");
  }

  // Mode and owner stay; a new file has the owner of its folder. A link stays one.
  static Status WriteFile(const std::string& path, const doctor::ChangedFile& file) {
    std::error_code unknown;
    std::filesystem::path real = file.is_new ? std::filesystem::path(path) : std::filesystem::canonical(path, unknown);
    struct stat st;
    if (stat((file.is_new ? real.parent_path() : real).c_str(), &st) != 0) {
      return ErrnoError(errno, "stat " + real.string());
    }
    TRY(WriteFileAtomically(real.string(), file.after, file.is_new ? 0644 : st.st_mode & 0777));
    if (st.st_uid == geteuid() || chown(real.c_str(), st.st_uid, st.st_gid) == 0) return Ok();
    return ErrnoError(errno, "chown " + real.string());
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
  bool estimate_ = false, rules_ = false;
  bool fix_ = false, yes_ = false, no_verify_ = false, image_may_change_ = false;
  std::vector<std::string> secrets_, build_args_;
  std::string progress_ = "auto";
  ProofFlags proof_;
  std::set<std::string> refused_;  // files whose fixes are not made
  std::string refusals_;           // why, of each image
  doctor::DiagnoseOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeDoctorCommand() { return std::make_unique<DoctorCommand>(); }

}  // namespace varve::cli
