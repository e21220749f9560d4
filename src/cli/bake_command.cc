// `varve bake`: Buildx's bake files and flags, all targets as one graph.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "bake/selection.h"
#include "base/fd.h"
#include "base/strings.h"
#include "cli/bake_entitlements.h"
#include "cli/bake_files.h"
#include "cli/bake_flags.h"
#include "cli/bake_lists.h"
#include "cli/commands.h"
#include "cli/joined_build.h"
#include "cli/joined_call.h"
#include "cli/report_flags.h"
#include "compose/loader.h"
#include "job/call_results.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "oci/platform.h"

namespace varve::cli {

namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// A switch of the environment; kInvalid names it when it is neither true nor false.
Result<bool> SwitchOf(const char* name, bool fallback) {
  std::string text = Environment(name);
  if (text.empty()) return fallback;
  auto value = ParseBool(text);
  if (!value) return Invalid("failed to parse {} value \"{}\": use 1 or 0", name, text);
  return *value;
}

class BakeCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_option("TARGET", arguments_,
                   "Targets and groups, also patterns (default: default). A git or HTTP URL first is where the "
                   "definition is, a second one the context");
    app.add_option("-f,--file", files_, "Bake file: HCL, JSON or Compose; - is stdin (repeatable)")
        ->allow_extra_args(false);
    app.add_option("--set", set_, "Override TARGET.KEY[+]=VALUE; TARGET may be a pattern (repeatable)")
        ->allow_extra_args(false);
    app.add_option("--var", variables_, "Value of a variable, NAME=VALUE (repeatable)")->allow_extra_args(false);
    app.add_flag("--print", print_, "Print the resolved definition as JSON, and build nothing");
    app.add_option("--list", list_, "List targets or variables: targets, type=variables,format=json");
    app.add_flag("--list-targets", list_targets_)->group("");
    app.add_flag("--list-variables", list_variables_)->group("");
    no_cache_option_ = app.add_flag("--no-cache", no_cache_, "Run every step again");
    pull_option_ = app.add_flag("--pull", pull_, "Ask the registry for base images even if they are here");
    app.add_flag("--push", push_, "Push all images; same as --set *.push=true");
    app.add_flag("--load", load_, "Load all images into docker or podman; same as --set *.load=true");
    app.add_option("--call", call_, "build, check, outline or targets[,format=json]");
    app.add_flag("--check", check_, "Same as --call=check");
    app.add_option("--allow", allow_,
                   "Grant what the file asks for: network.host, security.insecure, fs.read=PATH, fs.write=PATH, "
                   "fs=PATH, ssh, device")
        ->allow_extra_args(false);
    app.add_option("--provenance", provenance_, "Same as --set *.attest=type=provenance");
    app.add_option("--sbom", sbom_, "Same as --set *.attest=type=sbom");
    app.add_option("--policy", policy_, "Policy options; disabled=true turns policies off")->allow_extra_args(false);
    app.add_option("--metadata-file", metadata_file_, "Write the results of all targets as JSON");
    DefineReportFlags(app, reports_);
    app.add_option("--progress", progress_, "auto, tty, plain, quiet, rawjson or none");
    app.add_option("--builder", builder_, "Accepted for scripts written for Buildx; has no effect")->group("");
  }

  Status Check() override {
    no_cache_given_ = no_cache_option_->count() > 0;
    pull_given_ = pull_option_->count() > 0;
    if (progress_.empty()) progress_ = Environment("BUILDKIT_PROGRESS");
    TRY_ASSIGN(shown_.progress, job::ParseProgressMode(progress_.empty() ? "auto" : progress_));
    TRY(job::FinishReportFlags(reports_));
    TRY_ASSIGN(call_flag_, job::ParseCall(check_ ? "check" : call_.empty() ? "build" : call_));
    if (print_ && (!list_.empty() || list_targets_ || list_variables_))
      return Invalid("--print and --list are mutually exclusive");
    if (list_.empty() && (list_targets_ || list_variables_)) list_ = list_targets_ ? "targets" : "variables";
    for (const std::string& text : variables_) {
      size_t eq = text.find('=');
      if (eq == text.npos || eq == 0) return Invalid("invalid --var \"{}\": use NAME=VALUE", text);
      options_.variables[text.substr(0, eq)] = text.substr(eq + 1);
    }
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    // 1. The definition: files, variables, targets, overrides. Nothing is touched but what is remote.
    std::string url, context = "cwd://";
    std::vector<std::string> names = arguments_;
    if (!names.empty() && IsRemoteUrl(names[0])) {
      url = names[0];
      names.erase(names.begin());
      if (!names.empty() && IsRemoteUrl(names[0])) {
        context = names[0];
        names.erase(names.begin());
      }
    }
    auto read = ReadBakeFiles(files_, url, global, {});
    if (!read) return Fail(read.error());
    if (Status good = ReadOptions(context); !good) return Fail(good.error());
    auto definition = bake::Read(read->files, options_);
    if (!definition) return Fail(definition.error());
    if (!list_.empty()) {
      auto listed = ListOf(*definition, list_);
      if (!listed) return Fail(listed.error());
      job::ToStdout(*listed);
      return job::kSuccess;
    }
    auto selection = bake::Select(*definition, names, Overrides(), options_.environment);
    if (!selection) return Fail(selection.error());
    if (Status placed = Place(*selection, read->origin); !placed) return Fail(placed.error());
    if (print_) {
      job::ToStdout(selection->ToJson().Dump({.indent = 2, .escape_html = true}) + "\n");
      return job::kSuccess;
    }

    // 2. What it asks for, and may have.
    JoinedRequest request = MakeRequest(*definition, *read);
    auto allowed = Entitlements::Parse(allow_);
    if (!allowed) return Fail(allowed.error());
    // What was fetched is the definition's own; a link that leads out of it is not.
    if (!url.empty()) allowed->AllowRead(read->origin.directory);
    if (Status own = AllowOverrides(*allowed); !own) return Fail(own.error());
    for (const bake::Target* target : selection->InOrder()) {
      auto flags = FlagsOfTarget(*target, read->origin);
      if (!flags) return Fail(flags.error());
      if (call_flag_.name != "build") flags->flags.call = call_flag_;
      allowed->Need(flags->flags);
      request.parts.push_back({.name = target->name,
                               .image = Join(flags->flags.tags, " "),
                               .flags = std::move(flags->flags),
                               .links = std::move(flags->links)});
    }
    if (Status granted = AskFor(*allowed, !url.empty()); !granted) return Fail(granted.error());
    for (JoinedJob::Part& part : request.parts) {
      // Granted for the targets that ask; nobody else gets it.
      if (part.flags.network == graph::NetworkMode::kHost) part.flags.allow.push_back("network.host");
    }

    // 3. All targets, as one graph; or what their Dockerfiles say.
    bool calls = std::ranges::any_of(request.parts, [](const auto& part) { return part.flags.call.name != "build"; });
    if (calls) return CallJoined(std::move(request), *selection, call_flag_, global);
    request.reports = reports_;
    return BuildJoined(std::move(request), global);
  }

 private:
  Status ReadOptions(const std::string& context) {
    std::error_code error;
    options_.working_directory = std::filesystem::current_path(error).string();
    if (error) return ErrnoError(error.value(), "the working directory");
    TRY_ASSIGN(bool blind, SwitchOf("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", false));
    if (!blind) options_.environment = compose::EnvironmentOfProcess();
    TRY_ASSIGN(options_.file_relative_paths, SwitchOf("BUILDX_BAKE_FILE_RELATIVE_PATHS", false));
    options_.built_in = {{"BAKE_CMD_CONTEXT", context}, {"BAKE_LOCAL_PLATFORM", oci::HostPlatform().ToString()}};
    return Ok();
  }

  std::vector<std::string> Overrides() const {
    std::vector<std::string> all = set_;
    if (push_) all.push_back("*.push=true");
    if (load_) all.push_back("*.load=true");
    if (call_flag_.name != "build") all.push_back("*.call=" + call_flag_.name);
    if (no_cache_given_) all.push_back(fmt::format("*.no-cache={}", no_cache_));
    if (pull_given_) all.push_back(fmt::format("*.pull={}", pull_));
    if (!sbom_.empty()) all.push_back("*.attest=" + bake::AttestText("sbom", sbom_));
    if (!provenance_.empty()) all.push_back("*.attest=" + bake::AttestText("provenance", provenance_));
    for (const std::string& text : policy_) all.push_back("*.policy+=" + text);
    return all;
  }

  Status Place(bake::Selection& selection, const BakeOrigin& origin) const {
    const bool no_policy = std::ranges::find(policy_, "disabled=true") != policy_.end();
    for (auto& [name, target] : selection.targets) {
      TRY(PlaceContext(target, origin));
      if (no_policy) target.policy = bake::Entries{{.fields = {{"disabled", "true"}}}};
      std::string epoch = Environment("SOURCE_DATE_EPOCH");
      if (!epoch.empty() && !target.args.contains("SOURCE_DATE_EPOCH")) target.args["SOURCE_DATE_EPOCH"] = epoch;
    }
    return Ok();
  }

  JoinedRequest MakeRequest(const bake::Definition& definition, const BakeFiles& read) const {
    return {.wording = {.part = "target",
                        .missing_dockerfile = "the target says context, a folder, and dockerfile, a path from there",
                        .conflict = "bake the targets one after the other: varve bake TARGET"},
            .command = "bake",
            .project = read.origin.url.empty() ? options_.working_directory : read.origin.url,
            .name = std::filesystem::path(options_.working_directory).filename().string(),
            .definition = read.files[0].name,
            .warnings = definition.warnings,
            .shown = shown_,
            .metadata_file = metadata_file_};
  }

  // What the command line names itself needs no other permission.
  Status AllowOverrides(Entitlements& allowed) const {
    for (const std::string& text : set_) {
      size_t dot = text.find('.'), eq = text.find('=');
      if (dot == text.npos || eq == text.npos || dot > eq) continue;
      std::string key = text.substr(dot + 1, eq - dot - 1), value = text.substr(eq + 1);
      if (key.ends_with('+')) key.pop_back();
      auto all = [&](bake::EntryKind kind, auto&& each) -> Status {
        TRY_ASSIGN(auto entries, bake::ParseEntries(kind, value));
        for (const bake::Entry& entry : entries) each(entry);
        return Ok();
      };
      if (key == "cache-from")
        TRY(all(bake::EntryKind::kCache, [&](const auto& e) { allowed.AllowRead(e.Get("src")); }));
      if (key == "cache-to")
        TRY(all(bake::EntryKind::kCache, [&](const auto& e) { allowed.AllowWrite(e.Get("dest")); }));
      if (key == "output")
        TRY(all(bake::EntryKind::kOutput, [&](const auto& e) { allowed.AllowWrite(e.Get("dest")); }));
      if (key == "secrets" || key.starts_with("secret."))
        TRY(all(bake::EntryKind::kSecret, [&](const auto& e) { allowed.AllowRead(e.Get("src")); }));
      if (key == "ssh") {
        TRY(all(bake::EntryKind::kSsh, [&](const auto& e) {
          for (const std::string& path : e.paths) allowed.AllowRead(path);
        }));
      }
      if (key == "entitlements") allowed.AllowKey(value);
    }
    return Ok();
  }

  Status AskFor(const Entitlements& allowed, bool remote) const {
    TRY_ASSIGN(bool files, SwitchOf("BUILDX_BAKE_ENTITLEMENTS_FS", true));
    if (remote) {
      TRY_ASSIGN(bool open, SwitchOf("BAKE_ALLOW_REMOTE_FS_ACCESS", false));
      files = files && !open;
    }
    auto missing = allowed.FindMissing(files);
    if (missing.said.empty()) return Ok();
    std::string text = "Your build is requesting privileges for following possibly insecure capabilities:\n\n" +
                       Join(missing.said, "\n") + "\n\n";
    text += fmt::format("Pass \"{}\" to grant requested privileges.\n", Join(missing.flags, " "));
    job::ToStderr(text);
    if (isatty(STDIN_FILENO) != 0 && shown_.progress != job::ProgressMode::kRawJson) {
      job::ToStderr("Do you want to grant requested privileges and continue? [y/N] ");
      FdReader in(STDIN_FILENO);
      std::string answer;
      char c = 0;
      for (auto got = in.Read({&c, 1}); got && *got == 1 && c != '\n'; got = in.Read({&c, 1})) answer += c;
      if (answer == "y" || answer == "Y") return Ok();
    }
    return Invalid("additional privileges requested");
  }

  static int Fail(const Error& error) {
    job::PrintCommandError(error);
    return job::ExitCodeOf(error);
  }

  std::vector<std::string> arguments_, files_, set_, variables_, allow_, policy_;
  std::string list_, call_, provenance_, sbom_, metadata_file_, progress_, builder_;
  bool print_ = false, list_targets_ = false, list_variables_ = false, no_cache_ = false, pull_ = false, push_ = false,
       load_ = false, check_ = false, no_cache_given_ = false, pull_given_ = false;
  CLI::Option *no_cache_option_ = nullptr, *pull_option_ = nullptr;
  job::CallFlag call_flag_;
  job::BuildFlags shown_;
  job::ReportFlags reports_;
  bake::ReadOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeBakeCommand() { return std::make_unique<BakeCommand>(); }

}  // namespace varve::cli
