// `varve compose build` and `varve compose config`: docker compose's files, its flags, one graph.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>

#include "base/fd.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cli/build_display.h"
#include "cli/build_history.h"
#include "cli/build_report.h"
#include "cli/collect_after.h"
#include "cli/commands.h"
#include "cli/compose_job.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/stop_signals.h"
#include "compose/render.h"
#include "sys/namespace.h"

namespace varve::cli {

namespace {

using compose::Service;

Result<ProgressMode> ModeOf(const std::string& text) {
  if (text.empty() || text == "auto") return ProgressMode::kAuto;
  if (text == "tty") return ProgressMode::kTty;
  if (text == "plain") return ProgressMode::kPlain;
  if (text == "quiet") return ProgressMode::kQuiet;
  if (text == "json" || text == "rawjson") return ProgressMode::kRawJson;
  if (text == "none") return ProgressMode::kNone;
  return Invalid("invalid progress mode \"{}\": use auto, tty, plain, quiet, rawjson or none",
                 text);
}

class ComposeCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.require_subcommand(1);
    app.add_option("-f,--file", load_.files,
                   "Compose file; - is stdin (repeatable: later ones merge onto earlier)")
        ->allow_extra_args(false);
    app.add_option("--env-file", load_.env_files,
                   "Environment file (default: .env of the project's directory)")
        ->allow_extra_args(false);
    app.add_option("--project-directory", load_.project_directory,
                   "Default: that of the first Compose file");
    app.add_option("-p,--project-name", load_.project_name, "Name of the project");
    app.add_option("--profile", profiles_, "Profile to activate (repeatable; * is all)")
        ->allow_extra_args(false);
    app.add_option("--progress", progress_, "auto, tty, plain, quiet, rawjson or none");

    CLI::App* build = app.add_subcommand("build", "Build the services' images, all as one graph");
    build->add_option("SERVICE", named_,
                      "Services to build (default: all that have a build section)");
    build
        ->add_option("--build-arg", build_args_,
                     "Build argument K=V for every service, or K from the environment")
        ->allow_extra_args(false);
    build->add_flag("--no-cache", all_.no_cache, "Run every step again");
    build->add_flag("--pull", all_.pull, "Ask the registry for base images even if they are here");
    build->add_flag("--push", all_.push, "Push the images that image: names");
    build->add_flag("--print", print_, "Print the build as a bake file, and build nothing");
    build->add_flag("-q,--quiet", quiet_, "Print errors only");
    build->add_flag("--with-dependencies", with_dependencies_,
                    "Also build what the services depend on");
    build->add_option("-m,--memory", all_.memory, "Memory limit of a step");
    build
        ->add_option("--builder", ignored_,
                     "Accepted for scripts written for Compose; has no effect")
        ->group("");
    for (const char* name : {"--compress", "--force-rm", "--no-rm", "--parallel"})
      build->add_flag(name)->group("");

    config_ = app.add_subcommand("config", "Print the files as one resolved model");
    config_->alias("convert");
    config_->add_option("SERVICE", named_, "Services to show");
    config_->add_option("--format", format_, "yaml (default) or json")
        ->check(CLI::IsMember({"yaml", "json"}));
    config_->add_flag("--services", list_services_, "The names of the services, one a line");
    config_->add_flag("--images", list_images_, "The names of the images, one a line");
    config_->add_flag("--profiles", list_profiles_, "The names of the profiles, one a line");
    config_->add_flag("-q,--quiet", quiet_, "Only check the files");
    config_->add_flag("--no-interpolate", no_interpolate_, "Leave variables as they are written");
    config_->add_option("-o,--output", output_, "File to write instead of stdout");
  }

  Status Check() override {
    is_config_ = config_->parsed();  // the parser is gone when the command runs
    TRY_ASSIGN(shown_.progress, ModeOf(progress_));
    if (progress_.empty()) {
      const char* progress = std::getenv("BUILDKIT_PROGRESS");
      TRY_ASSIGN(shown_.progress, ModeOf(progress ? progress : ""));
    }
    shown_.quiet = quiet_;
    for (const std::string& text : build_args_) {
      size_t eq = text.find('=');
      if (eq == 0 || text.empty())
        return Invalid("invalid --build-arg \"{}\": it has no name", text);
      if (eq != text.npos) {
        all_.build_args.emplace_back(text.substr(0, eq), text.substr(eq + 1));
      } else if (const char* value = std::getenv(text.c_str())) {
        all_.build_args.emplace_back(text, value);
      }
    }
    return Ok();
  }

  int Run(const GlobalFlags& global) override {
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
    for (const std::string& warning : project.loaded.warnings)
      ToStderr("WARNING: " + warning + "\n");
    if (quiet_) return kSuccess;
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
      Json model = compose::ResolvedModel(project, named_);
      text = format_ == "json" ? model.Dump({.indent = 2, .sort_keys = true}) + "\n"
                               : compose::ToYaml(model);
      // What comes out can be read in again: its dollars are no variables.
      if (!no_interpolate_) text = ReplaceAll(text, "$", "$$");
    }
    if (output_.empty()) {
      ToStdout(text);
    } else if (Status written = WriteFileAtomically(output_, text); !written) {
      return Fail(written.error());
    }
    return kSuccess;
  }

  // --- build

  int Build(const compose::Project& project, const GlobalFlags& global) {
    // 1. The files mean something, before anything is touched.
    auto services = compose::ServicesToBuild(project, named_, with_dependencies_);
    if (!services) return Fail(services.error());
    if (print_) {
      Json bake = BakeFile(project, *services, named_, all_);
      ToStdout(bake.Dump({.indent = 2, .sort_keys = true}) + "\n");
      return kSuccess;
    }
    if (services->empty()) {
      ToStderr("nothing to build: no service has a build section\n");
      return kSuccess;
    }
    // Secrets are read from the process' environment; the project's may have more, from .env.
    // Before the first thread.
    for (const Service* service : *services) {
      for (const compose::BuildSecret& secret : service->build->secrets) {
        if (!secret.variable.empty()) setenv(secret.variable.c_str(), secret.value.c_str(), 0);
      }
    }
    if (sys::CanMount()) {
      if (Status entered = sys::EnterPrivateMountNamespace(); !entered)
        return Fail(entered.error());
    }
    StopSignals signals;
    auto workspace = Workspace::Open(global);
    if (!workspace) return Fail(workspace.error());
    board_ = MakeBoard(shown_);
    if (!workspace->local.notice.empty()) board_->Warn({.text = workspace->local.notice});
    for (const std::string& warning : project.loaded.warnings) board_->Warn({.text = warning});
    auto config = ReadBuildConfig(workspace->root);
    if (!config) return Fail(config.error());

    ComposeJob job(*workspace, *board_, signals.token());
    for (const Service* service : *services) {
      auto flags = FlagsOfService(project, *service, all_);
      if (!flags) return Fail(flags.error());
      for (const std::string& warning : flags->warnings) board_->Warn({.text = warning});
      std::string image = service->ImageName(project.loaded.name);
      if (Status added = job.Add(service->name, std::move(*flags), image); !added)
        return Fail(added.error());
    }
    BuildHistory history(*workspace, HeaderOf(project, job));
    int code = BuildAll(project, job, *config, history, *workspace, signals.token());
    end_.exit_code = code;
    history.Finish(end_, *board_, *config);
    if (Status flushed = workspace->local.store->Flush(); !flushed)
      LOG_WARN("{}", flushed.error().message);
    EndBuild(*workspace);
    if (Counter("snapshot.layers").value() > 0)
      CollectAfterBuild(*workspace, IsSilent(), signals.token());
    return code;
  }

  int BuildAll(const compose::Project& project, ComposeJob& job, const BuildConfig& config,
               BuildHistory& history, Workspace& workspace, const std::stop_token& stop) {
    // 2. Contexts, Dockerfiles, one graph.
    auto prepared = job.Prepare();
    if (!prepared) {
      end_.error = prepared.error().error;
      return FailWith(prepared.error(), job.failed()->job->context(), board_.get());
    }
    // 3–4. Once more should the store turn out to be damaged: what is damaged is gone then.
    auto failed = RunAndExport(project, job, config, history);
    for (int mends = 0; failed && mends < kMaxMends; ++mends) {
      if (!MendAfter(*failed, workspace, *board_, stop)) break;
      failed = RunAndExport(project, job, config, history);
    }
    if (outcome_.error) return FailStep(job);
    if (failed) return Fail(*failed);
    board_->Close();
    if (!IsSilent()) {
      PrintServices(job);
      PrintSummary(job.graph(), outcome_, job.parts()[0].outputs,
                   SystemClock().Monotonic() - begin_);
    }
    return kSuccess;
  }

  // The engine, then images.
  std::optional<Error> RunAndExport(const compose::Project& project, ComposeJob& job,
                                    const BuildConfig& config, BuildHistory& history) {
    BoardObserver observer(*board_, job.graph());
    auto outcome =
        job.Run(project.loaded.directory, config.max_age, history.Watch(observer, job.graph()));
    if (!outcome) return std::move(outcome).error();
    outcome_ = std::move(*outcome);
    end_.graph = &job.graph();
    end_.outcome = &outcome_;
    if (outcome_.error) return outcome_.error;
    Status exported = job.Export(outcome_);
    WriteStats(job);
    if (!exported) return std::move(exported).error();
    return std::nullopt;
  }

  int FailStep(const ComposeJob& job) {
    std::vector<const ComposeJob::Part*> parts;
    if (outcome_.failed_step) parts = job.PartsOf(*outcome_.failed_step);
    if (!parts.empty()) {
      std::vector<std::string> names;
      for (const auto* part : parts) names.push_back(part->service);
      outcome_.error->message = fmt::format("service{} {}: {}", names.size() == 1 ? "" : "s",
                                            Join(names, ", "), outcome_.error->message);
    }
    end_.error = outcome_.error;
    WriteStats(job);
    const ComposeJob::Part& shown = parts.empty() ? job.parts()[0] : *parts[0];
    return FailBuild(job.graph(), outcome_, shown.job->context(), *board_);
  }

  static history::Build HeaderOf(const compose::Project& project, const ComposeJob& job) {
    history::Build header;
    header.command = "compose build";
    header.project = header.context = project.loaded.directory;
    header.name = project.loaded.name;
    header.dockerfile = project.loaded.files.empty() ? "" : project.loaded.files[0];
    for (const ComposeJob::Part& part : job.parts()) {
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
  void PrintServices(const ComposeJob& job) const {
    size_t service_width = 0, image_width = 0;
    for (const auto& part : job.parts()) {
      service_width = std::max(service_width, part.service.size());
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
      text += fmt::format("{:<{}}  {:<{}}  {}  {} cached, {} run\n", part.service, service_width,
                          part.image, image_width, part.image_id.substr(0, 19), cached, ran);
    }
    ToStderr(text);
  }

  void WriteStats(const ComposeJob& job) const {
    if (const char* path = std::getenv("VARVE_STATS_FILE"))
      WriteStatsFile(path, job.graph(), outcome_);
  }

  bool IsSilent() const {
    return quiet_ || shown_.progress == ProgressMode::kRawJson ||
           shown_.progress == ProgressMode::kNone || shown_.progress == ProgressMode::kQuiet;
  }

  int Fail(const Error& error) {
    end_.error = error;
    if (board_ != nullptr) return FailWith(error, board_.get());
    PrintCommandError(error);
    return ExitCodeOf(error);
  }

  compose::LoadOptions load_;
  std::vector<std::string> profiles_, named_, build_args_;
  std::string progress_, format_, output_, ignored_;
  bool is_config_ = false, quiet_ = false, print_ = false, with_dependencies_ = false,
       no_interpolate_ = false;
  bool list_services_ = false, list_images_ = false, list_profiles_ = false;
  CLI::App* config_ = nullptr;
  ComposeBuildFlags all_;
  BuildFlags shown_;  // what the display asks for
  const Nanos begin_ = SystemClock().Monotonic();
  std::unique_ptr<progress::Board> board_;
  engine::Outcome outcome_;
  BuildHistory::End end_;
};

}  // namespace

std::unique_ptr<Command> MakeComposeCommand() { return std::make_unique<ComposeCommand>(); }

}  // namespace varve::cli
