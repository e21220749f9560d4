// `varve compose build` and `varve compose config`: docker compose's files, its flags, one graph.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/compose_flags.h"
#include "cli/joined_build.h"
#include "cli/joined_call.h"
#include "cli/report_flags.h"
#include "compose/render.h"
#include "job/console.h"
#include "job/exit_code.h"

namespace varve::cli {

namespace {

using compose::Service;

Result<job::ProgressMode> ModeOf(const std::string& text) {
  if (text.empty() || text == "auto") return job::ProgressMode::kAuto;
  if (text == "tty") return job::ProgressMode::kTty;
  if (text == "plain") return job::ProgressMode::kPlain;
  if (text == "quiet") return job::ProgressMode::kQuiet;
  if (text == "json" || text == "rawjson") return job::ProgressMode::kRawJson;
  if (text == "none") return job::ProgressMode::kNone;
  return Invalid("invalid progress mode \"{}\": use auto, tty, plain, quiet, rawjson or none", text);
}

// docker compose's commands that varve leaves to it.
constexpr const char* kOfDockerCompose[] = {
    "attach", "bridge", "commit", "cp",   "create", "down",    "events", "exec",    "export",  "images", "kill",
    "logs",   "ls",     "pause",  "port", "ps",     "publish", "pull",   "push",    "restart", "rm",     "run",
    "scale",  "start",  "stats",  "stop", "top",    "unpause", "up",     "version", "volumes", "wait",   "watch"};

// What to type instead of it.
std::string InsteadOf(const std::string& command) {
  if (command == "push") return "varve compose build --push builds the images and pushes them";
  if (command == "pull") return "varve compose build --pull asks the registries for newer base images";
  if (command == "images") return "varve compose config --images prints the names, varve history ls what was built";
  if (command == "version") return "varve --version";
  if (command == "up" || command == "run" || command == "create" || command == "watch") {
    return fmt::format("varve compose build --load, then docker compose {}{}", command,
                       command == "up" || command == "create" ? " --no-build" : "");
  }
  return "docker compose " + command;
}

class ComposeCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.require_subcommand(1);
    app.add_option("-f,--file", load_.files, "Compose file; - is stdin (repeatable: later ones merge onto earlier)")
        ->allow_extra_args(false);
    app.add_option("--env-file", load_.env_files, "Environment file (default: .env of the project's directory)")
        ->allow_extra_args(false);
    app.add_option("--project-directory", load_.project_directory, "Default: that of the first Compose file");
    app.add_option("-p,--project-name", load_.project_name, "Name of the project");
    app.add_option("--profile", profiles_, "Profile to activate (repeatable; * is all)")->allow_extra_args(false);
    app.add_option("--progress", progress_, "auto, tty, plain, quiet, rawjson or none");

    CLI::App* build = app.add_subcommand("build", "Build the services' images, all as one graph");
    build->add_option("SERVICE", named_, "Services to build (default: all that have a build section)");
    build->add_option("--build-arg", build_args_, "Build argument K=V for every service, or K from the environment")
        ->allow_extra_args(false);
    build->add_flag("--no-cache", all_.no_cache, "Run every step again");
    build->add_flag("--pull", all_.pull, "Ask the registry for base images even if they are here");
    build->add_flag("--push", all_.push, "Push the images that image: names");
    build->add_flag("--load", all_.load, "Load the images into docker or podman, for docker compose up --no-build");
    build->add_flag("--check", check_, "Only look at the Dockerfiles, and build nothing");
    build->add_option("--ssh", all_.ssh, "Agent or keys for RUN --mount=type=ssh: default or ID=PATH")
        ->allow_extra_args(false);
    build->add_option("--provenance", all_.provenance, "Provenance for the images: true, false, mode=min or mode=max");
    build->add_option("--sbom", all_.sbom, "A list of the packages for the images: true or false");
    build->add_flag("--print", print_, "Print the build as a bake file, and build nothing");
    build->add_flag("-q,--quiet", quiet_, "Print errors only");
    build->add_flag("--with-dependencies", with_dependencies_, "Also build what the services depend on");
    DefineReportFlags(*build, reports_);
    build->add_option("-m,--memory", all_.memory, "Memory limit of a step");
    build->add_option("--builder", ignored_, "Accepted for scripts written for Compose; has no effect")->group("");
    for (const char* name : {"--compress", "--force-rm", "--no-rm", "--parallel"}) build->add_flag(name)->group("");
    for (const char* name : {"--ansi", "--parallel"}) app.add_option(name, ignored_)->group("");
    for (const char* name : {"--compatibility", "--verbose", "--all-resources"}) app.add_flag(name)->group("");
    for (const char* name : kOfDockerCompose) {
      others_.push_back(app.add_subcommand(name)->group("")->fallthrough(false)->allow_extras());
    }

    config_ = app.add_subcommand("config", "Print the files as one resolved model");
    config_->alias("convert");
    config_->add_option("SERVICE", named_, "Services to show");
    config_->add_option("--format", format_, "yaml (default) or json")->check(CLI::IsMember({"yaml", "json"}));
    config_->add_flag("--services", list_services_, "The names of the services, one a line");
    config_->add_flag("--images", list_images_, "The names of the images, one a line");
    config_->add_flag("--profiles", list_profiles_, "The names of the profiles, one a line");
    config_->add_flag("-q,--quiet", quiet_, "Only check the files");
    config_->add_flag("--no-interpolate", no_interpolate_, "Leave variables as they are written");
    config_->add_flag("--no-env-resolution", no_env_resolution_, "Leave the services' env_file as it is written");
    config_->add_option("-o,--output", output_, "File to write instead of stdout");
  }

  Status Check() override {
    for (const CLI::App* other : others_) {
      if (!other->parsed()) continue;
      Error error = Invalid("varve builds, and docker compose runs: varve has no compose {}", other->get_name());
      error.hint = InsteadOf(other->get_name());
      return error;
    }
    is_config_ = config_->parsed();  // the parser is gone when the command runs
    TRY_ASSIGN(shown_.progress, ModeOf(progress_));
    if (progress_.empty()) {
      const char* progress = std::getenv("BUILDKIT_PROGRESS");
      TRY_ASSIGN(shown_.progress, ModeOf(progress ? progress : ""));
    }
    shown_.quiet = quiet_;
    TRY(job::FinishReportFlags(reports_));
    for (const std::string& text : build_args_) {
      size_t eq = text.find('=');
      if (eq == 0 || text.empty()) return Invalid("invalid --build-arg \"{}\": it has no name", text);
      if (eq != text.npos) {
        all_.build_args.emplace_back(text.substr(0, eq), text.substr(eq + 1));
      } else if (const char* value = std::getenv(text.c_str())) {
        all_.build_args.emplace_back(text, value);
      }
    }
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    std::error_code error;
    load_.working_directory = std::filesystem::current_path(error).string();
    if (error) return Fail(ErrnoError(error.value(), "the working directory"));
    load_.environment = compose::EnvironmentOfProcess();
    load_.interpolate = !no_interpolate_;
    auto project = MakeProject();
    if (!project) return Fail(project.error());
    return is_config_ ? Config(*project) : Build(*project, global);
  }

 private:
  Result<compose::Project> MakeProject() {
    TRY_ASSIGN(auto loaded, compose::Load(load_));
    return compose::MakeProject(std::move(loaded), profiles_, named_);
  }

  // --- config

  int Config(const compose::Project& project) {
    for (const std::string& warning : project.loaded.warnings) job::ToStderr("WARNING: " + warning + "\n");
    if (quiet_) return job::kSuccess;
    std::string text;
    if (list_services_ || list_images_) {
      for (const Service& service : project.services) {
        bool wanted = named_.empty() || std::ranges::find(named_, service.name) != named_.end();
        if (!service.active || !wanted) continue;
        text += (list_services_ ? service.name : service.ImageName(project.loaded.name)) + "\n";
      }
    } else if (list_profiles_) {
      std::set<std::string> profiles;
      for (const Service& service : project.services) {
        profiles.insert(service.profiles.begin(), service.profiles.end());
      }
      for (const std::string& profile : profiles) text += profile + "\n";
    } else {
      auto model = compose::ResolvedModel(project, named_, !no_interpolate_ && !no_env_resolution_);
      if (!model) return Fail(model.error());
      text = format_ == "json" ? model->Dump({.indent = 2, .sort_keys = true}) + "\n" : compose::ToYaml(*model);
      // What comes out can be read in again: its dollars are no variables.
      if (!no_interpolate_) text = ReplaceAll(text, "$", "$$");
    }
    if (output_.empty()) {
      job::ToStdout(text);
    } else if (Status written = WriteFileAtomically(output_, text); !written) {
      return Fail(written.error());
    }
    return job::kSuccess;
  }

  // --- build

  int Build(const compose::Project& project, const job::GlobalFlags& global) {
    // 1. The files mean something, before anything is touched.
    auto services = compose::ServicesToBuild(project, named_, with_dependencies_);
    if (!services) return Fail(services.error());
    if (print_) {
      Json bake = BakeFile(project, *services, named_, all_);
      job::ToStdout(bake.Dump({.indent = 2, .sort_keys = true}) + "\n");
      return job::kSuccess;
    }
    if (services->empty()) {
      job::ToStderr("nothing to build: no service has a build section\n");
      return job::kSuccess;
    }
    // Secrets are read from the process' environment; the project's may have more, from .env.
    // Before the first thread.
    for (const Service* service : *services) {
      for (const compose::BuildSecret& secret : service->build->secrets) {
        if (!secret.variable.empty()) setenv(secret.variable.c_str(), secret.value.c_str(), 0);
      }
    }
    JoinedRequest request{
        .wording = {.part = "service",
                    .missing_dockerfile = "the service's build: says context, a folder, and dockerfile, "
                                          "a path from there",
                    .conflict = "build the services one after the other: varve compose build SERVICE"},
        .command = "compose build",
        .project = project.loaded.directory,
        .name = project.loaded.name,
        .definition = project.loaded.files.empty() ? "" : project.loaded.files[0],
        .warnings = project.loaded.warnings,
        .shown = shown_,
        .reports = reports_};
    for (const Service* service : *services) {
      auto flags = FlagsOfService(project, *service, all_);
      if (!flags) return Fail(flags.error());
      request.warnings.insert(request.warnings.end(), flags->warnings.begin(), flags->warnings.end());
      request.parts.push_back({.name = service->name,
                               .image = service->ImageName(project.loaded.name),
                               .flags = std::move(flags->flags),
                               .links = std::move(flags->services)});
    }
    if (!check_) return BuildJoined(std::move(request), global);
    job::CallFlag call{.name = "lint"};
    bake::Selection selection;
    for (JoinedJob::Part& part : request.parts) {
      part.flags.call = call;
      selection.targets[part.name] = {};
    }
    return CallJoined(std::move(request), selection, call, global);
  }

  int Fail(const Error& error) {
    job::PrintCommandError(error);
    return job::ExitCodeOf(error);
  }

  compose::LoadOptions load_;
  std::vector<std::string> profiles_, named_, build_args_;
  std::string progress_, format_, output_, ignored_;
  bool is_config_ = false, quiet_ = false, print_ = false, check_ = false, with_dependencies_ = false,
       no_interpolate_ = false, no_env_resolution_ = false;
  bool list_services_ = false, list_images_ = false, list_profiles_ = false;
  CLI::App* config_ = nullptr;
  std::vector<const CLI::App*> others_;
  ComposeBuildFlags all_;
  job::ReportFlags reports_;
  job::BuildFlags shown_;  // what the display asks for
};

}  // namespace

std::unique_ptr<Command> MakeComposeCommand() { return std::make_unique<ComposeCommand>(); }

}  // namespace varve::cli
