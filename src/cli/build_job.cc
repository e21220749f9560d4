#include "cli/build_job.h"

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "base/clock.h"
#include "base/log.h"
#include "cache/cache_mounts.h"
#include "cli/build_display.h"
#include "oci/platform.h"

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

}  // namespace

Status BuildJob::CheckFlags(const BuildFlags& flags) {
  TRY(TargetPlatform(flags));
  return Ok();
}

dockerfile::Parsed<void> BuildJob::Read() {
  auto context = OpenContext(flags_, workspace_.scratch.path(), workspace_.root,
                             workspace_.registries->http(), stop_);
  if (!context) return std::unexpected(dockerfile::SourceError{context.error(), {}});
  context_ = std::move(*context);
  auto file = dockerfile::ParseDockerfile(context_.dockerfile);
  if (!file) return std::unexpected(file.error());
  file_ = std::move(*file);
  return {};
}

dockerfile::Parsed<void> BuildJob::Lower() {
  auto platform = TargetPlatform(flags_);
  if (!platform) return std::unexpected(dockerfile::SourceError{platform.error(), {}});
  ShownImages images(*workspace_.images, board_, stop_);
  auto lowered = dockerfile::Lower(file_, OptionsOf(*platform), images, &warnings_);
  if (!lowered) return std::unexpected(lowered.error());
  lowered_ = std::move(*lowered);
  return {};
}

// Steps of another machine's kind cannot run here without emulation; copying files can.
Status BuildJob::CheckRunnable() const {
  for (const graph::Step& step : lowered_.graph.steps) {
    if (!std::holds_alternative<graph::Exec>(step.op)) continue;
    if (oci::Matches(oci::HostPlatform(), step.platform)) continue;
    Error error = Invalid("step \"{}\" is for {}, and this machine is {}", step.name,
                          step.platform.ToString(), oci::HostPlatform().ToString());
    error.hint = "build on such a machine, or run the step on this one: FROM --platform=$BUILDPLATFORM";
    return error;
  }
  return Ok();
}

dockerfile::LowerOptions BuildJob::OptionsOf(const oci::Platform& platform) const {
  dockerfile::LowerOptions options;
  options.file_name = context_.dockerfile_name;
  options.target = flags_.target;
  options.all_stages = flags_.call.name == "lint" && flags_.target.empty();
  options.target_platform = platform;
  options.build_platform = oci::HostPlatform();
  options.platform_given = !flags_.platforms.empty();
  options.build_args = flags_.build_args;
  bool has_epoch = std::ranges::any_of(flags_.build_args, [](const auto& arg) {
    return arg.first == "SOURCE_DATE_EPOCH";
  });
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH"); epoch != nullptr && !has_epoch) {
    options.build_args.emplace_back("SOURCE_DATE_EPOCH", epoch);
  } else if (flags_.reproducible && !has_epoch) {
    options.build_args.emplace_back("SOURCE_DATE_EPOCH", "0");
  }
  options.labels = flags_.labels;
  options.no_cache = flags_.no_cache;
  options.no_cache_filter = flags_.no_cache_filter;
  options.context.source = graph::LocalSource{.name = "context", .exclude = context_.ignore,
                                              .include = {}, .ignore_file = context_.ignore_file};
  for (const auto& [name, value] : flags_.build_contexts) options.named_contexts.push_back({name, value});
  options.resolve_mode = flags_.pull ? graph::ResolveMode::kPull : graph::ResolveMode::kDefault;
  options.network = flags_.network;
  options.extra_hosts = flags_.extra_hosts;
  options.shm_size = flags_.shm_size;
  options.ulimits = flags_.ulimits;
  options.resources = flags_.resources;
  options.cgroup_parent = flags_.cgroup_parent;
  options.entitlements.insert(flags_.allow.begin(), flags_.allow.end());
  options.ignore_patterns = [this](const std::string& name) -> Result<std::vector<std::string>> {
    auto it = context_.named_ignore.find(name);
    return it == context_.named_ignore.end() ? std::vector<std::string>() : it->second;
  };
  return options;
}

std::string BuildJob::project() const {
  char resolved[PATH_MAX];
  const char* path = realpath(context_.directory.c_str(), resolved);
  // Remote and piped contexts get another directory each time; their Dockerfile is all that they have.
  return context_.temporary.empty() && path != nullptr ? path : context_.dockerfile_name;
}

Result<engine::Outcome> BuildJob::Run(const RunOptions& options, engine::Observer& observer) {
  TRY_ASSIGN(auto runner, MakeRunner(options.isolated));
  engine::Request request{.graph = lowered_.graph, .want_data = options.want_data,
                          .dry_run = options.dry_run, .salt = flags_.salt + options.isolated,
                          .project = project() + options.isolated};
  if (lowered_.root) request.wanted.push_back(*lowered_.root);
  cache::LocalStore& store = *workspace_.local.store;
  engine::Services services{store, store, *runner, *runner, *runner, observer, SystemClock()};
  return engine::Build(request, services, stop_);
}

void BuildJob::Forget(const engine::Outcome& outcome, const std::string& isolated) {
  for (const engine::StepOutcome& step : outcome.steps) {
    if (step.key.empty()) continue;
    if (Status dropped = workspace_.local.store->Drop(step.key); !dropped) {
      LOG_WARN("{}", dropped.error().message);
    }
  }
  cache::CacheMounts mounts(workspace_.root, SystemClock());
  auto entries = mounts.List();
  if (!entries) return;
  for (const auto& entry : *entries) {
    if (!entry.key.starts_with(lowered_.cache_mount_namespace + isolated + "/")) continue;
    if (auto removed = mounts.Remove(entry); !removed) LOG_WARN("{}", removed.error().message);
  }
}

exporter::ImageInput BuildJob::InputOf(const engine::Outcome& outcome) const {
  exporter::ImageInput input{.config = lowered_.config, .base_history = lowered_.base_history};
  input.rootfs = outcome.wanted.empty() ? cache::Rootfs{{}, tree::EmptyTree()} : outcome.wanted[0];
  for (const dockerfile::HistoryEntry& entry : lowered_.history) {
    Timestamp made = entry.step ? outcome.steps[*entry.step].created : Timestamp{0};
    input.made.push_back(made.nanos != 0 ? std::optional(made) : std::nullopt);
  }
  if (lowered_.base_config) input.base_layers = lowered_.base_config->diff_ids().size();
  return input;
}

exporter::ExportStores BuildJob::Stores() {
  return {*workspace_.layers, *workspace_.local.store, *workspace_.blobs,
          [this](const cache::LayerBlob& blob, std::stop_token token) {
            return workspace_.images->FetchLayerBlob(blob, token);
          },
          SystemClock()};
}

Result<oci::ImageConfig> BuildJob::Config(const engine::Outcome& outcome, exporter::Output output) {
  if (!output.source_date_epoch) output.source_date_epoch = lowered_.epoch;
  return exporter::MakeConfig(InputOf(outcome), output, Stores(), stop_);
}

Result<ExportedBuild> BuildJob::Export(const engine::Outcome& outcome,
                                       const std::vector<exporter::Output>& outputs) {
  std::vector<exporter::Output> dated = outputs;
  for (exporter::Output& output : dated) {
    if (!output.source_date_epoch) output.source_date_epoch = lowered_.epoch;
  }
  return ExportBuild(dated, InputOf(outcome), Stores(), workspace_.registries->pusher(),
                     workspace_.scratch.path(), board_, stop_);
}

Result<std::unique_ptr<exec::Runner>> BuildJob::MakeRunner(const std::string& isolated) {
  exec::RunnerOptions options{.root = workspace_.root, .directories = context_.named_directories,
                              .mount_namespace = lowered_.cache_mount_namespace + isolated};
  options.context_mode = flags_.context_mode;
  options.directories["context"] = context_.directory;
  options.secrets = SecretSourcesOf(flags_);
  TRY_ASSIGN(agents_, StartSshAgents(flags_.ssh, workspace_.scratch.path()));
  options.ssh = agents_->agents();
  return exec::Runner::Create(std::move(options),
                              {*workspace_.layers, *workspace_.local.store, *workspace_.images,
                               *workspace_.blobs, workspace_.registries->http(), *workspace_.lease,
                               SystemClock()});
}

}  // namespace varve::cli
