// The path of a build, in order. Each part's own rules are where it is called.
#include "cli/build_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <future>

#include "base/fd.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cache/lease.h"
#include "cache/root.h"
#include "cli/build_context.h"
#include "cli/build_display.h"
#include "cli/build_outputs.h"
#include "cli/build_report.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/registries.h"
#include "cli/ssh_agents.h"
#include "cli/stop_signals.h"
#include "dockerfile/lower.h"
#include "dockerfile/parser.h"
#include "engine/engine.h"
#include "exec/runner.h"
#include "source/image.h"
#include "sys/namespace.h"
#include "sys/tempdir.h"

namespace varve::cli {

namespace {

// Base images for lowering, each as a line of progress.
class ShownImages final : public dockerfile::ImageResolver {
 public:
  ShownImages(source::ImageStore& images, progress::Board& board, std::stop_token stop)
      : images_(images), board_(board), stop_(std::move(stop)) {}

  Result<dockerfile::ResolvedImage> Resolve(const std::string& reference,
                                            const oci::Platform& platform,
                                            graph::ResolveMode mode) override {
    auto image = Shown(board_, "[internal] load metadata for " + reference, [&](VertexSink& sink) {
      auto resolved = images_.Resolve(reference, platform, mode, stop_);
      if (resolved && !resolved->notice.empty()) sink.Log(2, "warning: " + resolved->notice + "\n");
      return resolved;
    });
    if (!image) return Error(std::move(image).error());
    return Answer(std::move(*image));
  }

  Result<dockerfile::ResolvedImage> ResolveLayout(const graph::OciLayoutSource& layout,
                                                  const oci::Platform& platform) override {
    std::string reference = layout.digest ? layout.digest->ToString() : layout.reference;
    TRY_ASSIGN(auto image, images_.ResolveLayout(layout.path, reference, platform));
    return Answer(std::move(image));
  }

 private:
  static dockerfile::ResolvedImage Answer(source::ResolvedImage image) {
    oci::Platform platform = image.config.platform();
    std::string pinned = image.reference.substr(0, image.reference.find('@')) + "@" +
                         image.manifest_digest.ToString();
    return {.config = std::move(image.config), .manifest_digest = image.manifest_digest,
            .platform = platform, .pinned_reference = std::move(pinned)};
  }

  source::ImageStore& images_;
  progress::Board& board_;
  std::stop_token stop_;
};

Result<oci::Platform> TargetPlatform(const BuildFlags& flags) {
  if (flags.platforms.size() > 1) {
    Error error = Invalid("building for several platforms at once is not supported");
    error.hint = "build them one by one, each with its own --platform and tag";
    return error;
  }
  if (flags.platforms.empty()) return oci::HostPlatform();
  return oci::ParsePlatform(flags.platforms[0]);
}

// Steps of another machine's kind cannot run here without emulation; copying files can.
Status CheckRunnable(const graph::Graph& graph) {
  for (const graph::Step& step : graph.steps) {
    if (!std::holds_alternative<graph::Exec>(step.op)) continue;
    if (oci::Matches(oci::HostPlatform(), step.platform)) continue;
    Error error = Invalid("step \"{}\" is for {}, and this machine is {}", step.name,
                          step.platform.ToString(), oci::HostPlatform().ToString());
    error.hint = "build on such a machine, or run the step on this one: FROM --platform=$BUILDPLATFORM";
    return error;
  }
  return Ok();
}

dockerfile::LowerOptions OptionsOf(const BuildFlags& flags, const BuildContext& context,
                                   const oci::Platform& platform) {
  dockerfile::LowerOptions options;
  options.file_name = context.dockerfile_name;
  options.target = flags.target;
  options.target_platform = platform;
  options.build_platform = oci::HostPlatform();
  options.platform_given = !flags.platforms.empty();
  options.build_args = flags.build_args;
  bool has_epoch = std::ranges::any_of(flags.build_args, [](const auto& arg) {
    return arg.first == "SOURCE_DATE_EPOCH";
  });
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH"); epoch != nullptr && !has_epoch) {
    options.build_args.emplace_back("SOURCE_DATE_EPOCH", epoch);
  }
  options.labels = flags.labels;
  options.no_cache = flags.no_cache;
  options.no_cache_filter = flags.no_cache_filter;
  options.context.source = graph::LocalSource{.name = "context", .exclude = context.ignore,
                                              .include = {}, .ignore_file = context.ignore_file};
  for (const auto& [name, value] : flags.build_contexts) options.named_contexts.push_back({name, value});
  options.resolve_mode = flags.pull ? graph::ResolveMode::kPull : graph::ResolveMode::kDefault;
  options.network = flags.network;
  options.extra_hosts = flags.extra_hosts;
  options.shm_size = flags.shm_size;
  options.ulimits = flags.ulimits;
  options.resources = flags.resources;
  options.cgroup_parent = flags.cgroup_parent;
  options.entitlements.insert(flags.allow.begin(), flags.allow.end());
  options.ignore_patterns = [&context](const std::string& name) -> Result<std::vector<std::string>> {
    auto it = context.named_ignore.find(name);
    return it == context.named_ignore.end() ? std::vector<std::string>() : it->second;
  };
  return options;
}

std::string ProjectName(const BuildContext& context) {
  char resolved[PATH_MAX];
  const char* path = realpath(context.directory.c_str(), resolved);
  // Remote and piped contexts get another directory each time; their Dockerfile is all that they have.
  return context.temporary.empty() && path != nullptr ? path : context.dockerfile_name;
}

// Everything of one build that has to outlive its threads, opened in order.
struct Opened {
  std::string root;
  std::unique_ptr<cas::BlobStore> blobs;
  cache::OpenedStore local;
  std::unique_ptr<snapshot::LayerStore> layers;
  std::unique_ptr<cache::JobLease> lease;
  std::unique_ptr<Registries> registries;
  std::unique_ptr<source::ImageStore> images;
  sys::TempDir scratch;
};

Result<Opened> Open(const GlobalFlags& global) {
  METRIC("build.open");
  Opened opened{.root = cache::RootDirectory(global.root)};
  TRY(cache::PrepareRoot(opened.root));
  TRY_ASSIGN(opened.local, cache::OpenLocalStore(opened.root, SystemClock()));
  TRY_ASSIGN(opened.blobs, cas::OpenDiskStore(opened.root));
  TRY_ASSIGN(opened.layers, snapshot::OpenLayerStore(opened.root));
  TRY_ASSIGN(opened.lease, cache::JobLease::Begin(opened.root, SystemClock()));
  TRY_ASSIGN(opened.registries, Registries::Open(opened.root));
  opened.images = std::make_unique<source::ImageStore>(
      opened.registries->distribution(), *opened.local.store, *opened.blobs, *opened.layers,
      SystemClock());
  TRY_ASSIGN(opened.scratch, sys::TempDir::Create(opened.root + "/tmp", "build-"));
  return opened;
}

class BuildCommand {
 public:
  BuildCommand(const GlobalFlags& global, const BuildFlags& flags) : global_(global), flags_(flags) {}

  int Run() {
    // 1. The command line means something, before anything is touched.
    auto outputs = EffectiveOutputs(flags_);
    if (!outputs) return Fail(outputs.error());
    auto platform = TargetPlatform(flags_);
    if (!platform) return Fail(platform.error());
    if (!flags_.iidfile.empty()) unlink(flags_.iidfile.c_str());

    // Mounts made from here on are nobody else's and go when this process goes, however it goes.
    // Before the first thread: a namespace is entered by a process that has one.
    if (sys::CanMount()) {
      if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return Fail(entered.error());
    }
    signals_.emplace();
    auto opened = Open(global_);
    if (!opened) return Fail(opened.error());
    opened_ = std::move(*opened);
    board_ = MakeBoard(flags_);
    if (!opened_.local.notice.empty()) board_->Warn({.text = opened_.local.notice});

    int code = Build(*outputs, *platform);
    if (Status flushed = opened_.local.store->Flush(); !flushed) LOG_WARN("{}", flushed.error().message);
    return code;
  }

 private:
  int Build(const std::vector<exporter::Output>& outputs, const oci::Platform& platform) {
    // 2. Context and Dockerfile.
    auto context = OpenContext(flags_, opened_.scratch.path(), opened_.root,
                               opened_.registries->http(), stop());
    if (!context) return Fail(context.error());
    context_ = std::move(*context);
    for (const std::string& warning : context_.warnings) board_->Warn({.text = warning});
    auto file = dockerfile::ParseDockerfile(context_.dockerfile);
    if (!file) return FailAt(file.error().error, file.error().span);
    if (flags_.call == "targets") return PrintTargets(*file, context_, flags_);

    // 3. Lowering asks for base images as it meets them.
    dockerfile::LowerOptions options = OptionsOf(flags_, context_, platform);
    ShownImages images(*opened_.images, *board_, stop());
    std::vector<dockerfile::Warning> warnings;
    auto lowered = dockerfile::Lower(*file, options, images, &warnings);
    if (flags_.call == "check") {
      board_->Close();
      const dockerfile::SourceError* error = lowered ? nullptr : &lowered.error();
      return PrintChecks(warnings, error, context_, flags_);
    }
    ShowWarnings(warnings, *board_, context_);
    if (!lowered) return FailAt(lowered.error().error, lowered.error().span);
    if (flags_.call == "outline") return PrintOutline(lowered->outline, context_, flags_);
    if (flags_.call == "graph") return PrintGraph(lowered->graph);
    if (Status runnable = CheckRunnable(lowered->graph); !runnable) return Fail(runnable.error());

    // 4–6. The engine: sources, keys, look-ups, and what is left to run.
    auto runner = MakeRunner(*lowered);
    if (!runner) return Fail(runner.error());
    BoardObserver observer(*board_, lowered->graph);
    engine::Request request{.graph = lowered->graph, .salt = flags_.salt,
                            .project = ProjectName(context_)};
    if (lowered->root) request.wanted.push_back(*lowered->root);
    request.want_data = std::ranges::any_of(outputs, [](const exporter::Output& o) {
      return o.type != exporter::OutputType::kCacheOnly;
    });
    engine::Services services{*opened_.local.store, *opened_.local.store, **runner, **runner,
                              **runner, observer, SystemClock()};
    engine::Outcome outcome = engine::Build(request, services, stop());
    if (outcome.error) {
      WriteStats(lowered->graph, outcome);
      return FailBuild(lowered->graph, outcome, context_, *board_);
    }

    // 7. Outputs.
    exporter::ImageInput input{.config = lowered->config, .base_history = lowered->base_history};
    input.rootfs = outcome.wanted.empty() ? cache::Rootfs{{}, tree::EmptyTree()} : outcome.wanted[0];
    for (const dockerfile::HistoryEntry& entry : lowered->history) {
      Timestamp made = entry.step ? outcome.steps[*entry.step].created : Timestamp{0};
      input.made.push_back(made.nanos != 0 ? std::optional(made) : std::nullopt);
    }
    if (lowered->base_config) input.base_layers = lowered->base_config->diff_ids().size();
    std::vector<exporter::Output> dated = outputs;
    for (exporter::Output& output : dated) {
      if (!output.source_date_epoch) output.source_date_epoch = lowered->epoch;
    }
    exporter::ExportStores stores{*opened_.layers, *opened_.local.store, *opened_.blobs,
                                  [this](const cache::LayerBlob& blob, std::stop_token token) {
                                    return opened_.images->FetchLayerBlob(blob, token);
                                  },
                                  SystemClock()};
    auto exported = ExportBuild(dated, input, stores, opened_.registries->pusher(),
                                opened_.scratch.path(), *board_, stop());
    WriteStats(lowered->graph, outcome);
    if (!exported) return Fail(exported.error());

    // 8. What scripts read, and what people read.
    if (Status written = WriteResultFiles(*exported); !written) return Fail(written.error());
    board_->Close();
    if (flags_.quiet && !exported->image_id.empty()) ToStdout(exported->image_id + "\n");
    bool silent = flags_.quiet || flags_.progress == ProgressMode::kRawJson ||
                  flags_.progress == ProgressMode::kNone || flags_.progress == ProgressMode::kQuiet;
    if (!silent) PrintSummary(outcome, outputs, SystemClock().Monotonic() - begin_);
    if (flags_.stats) PrintStats();
    return kSuccess;
  }

  Result<std::unique_ptr<exec::Runner>> MakeRunner(const dockerfile::Lowered& lowered) {
    exec::RunnerOptions options{.root = opened_.root, .directories = context_.named_directories,
                                .mount_namespace = lowered.cache_mount_namespace};
    options.directories["context"] = context_.directory;
    for (const SecretFlag& secret : flags_.secrets) {
      options.secrets[secret.id] = {secret.path, secret.variable};
    }
    TRY_ASSIGN(agents_, StartSshAgents(flags_.ssh, opened_.scratch.path()));
    options.ssh = agents_->agents();
    return exec::Runner::Create(std::move(options),
                                {*opened_.layers, *opened_.local.store, *opened_.images,
                                 *opened_.blobs, opened_.registries->http(), *opened_.lease,
                                 SystemClock()});
  }

  Status WriteResultFiles(const ExportedBuild& exported) {
    if (!flags_.iidfile.empty() && !exported.image_id.empty()) {
      TRY(WriteFileAtomically(flags_.iidfile, exported.image_id));
    }
    if (!flags_.metadata_file.empty()) {
      TRY(WriteFileAtomically(flags_.metadata_file,
                              exported.metadata.Dump({.indent = 2, .sort_keys = true}) + "\n"));
    }
    return Ok();
  }

  void WriteStats(const graph::Graph& graph, const engine::Outcome& outcome) {
    if (const char* path = std::getenv("VARVE_STATS_FILE")) WriteStatsFile(path, graph, outcome);
  }

  int Fail(const Error& error) {
    if (board_) board_->Close();
    PrintError(error);
    return ExitCodeOf(error);
  }

  int FailAt(const Error& error, const dockerfile::Span& span) {
    if (board_) board_->Close();
    PrintErrorAt(error, context_, span);
    return ExitCodeOf(error);
  }

  std::stop_token stop() const { return signals_->token(); }

  const GlobalFlags& global_;
  const BuildFlags& flags_;
  const Nanos begin_ = SystemClock().Monotonic();
  std::optional<StopSignals> signals_;
  Opened opened_;
  std::unique_ptr<progress::Board> board_;
  BuildContext context_;
  std::unique_ptr<SshAgents> agents_;
};

}  // namespace

int RunBuild(const GlobalFlags& global, const BuildFlags& flags) {
  return BuildCommand(global, flags).Run();
}

}  // namespace varve::cli
