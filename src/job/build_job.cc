#include "job/build_job.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <set>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "cache/cache_mounts.h"
#include "dockerfile/frontend.h"
#include "dockerfile/parse_warnings.h"
#include "dockerfile/step_name.h"
#include "job/build_display.h"
#include "job/fresh_mounts.h"
#include "job/inline_cache.h"
#include "job/mount_offer.h"
#include "job/source_policy.h"
#include "job/source_time.h"
#include "oci/platform.h"
#include "sys/namespace.h"
#include "upkeep/damage.h"

namespace varve::job {

namespace {

// Base images for lowering, each as a line of progress, also when the stages of several platforms ask
// for the same one.
class ShownImages final : public dockerfile::ImageResolver {
 public:
  // `client`: who has the OCI layouts; null: they are directories.
  ShownImages(source::ImageStore& images, progress::Board& board, bool multi_platform,
              Guarded<std::set<std::string>>& shown, ClientStores client, policy::SourcePolicy* policy,
              std::stop_token stop)
      : images_(images), board_(board), multi_platform_(multi_platform), shown_(shown), client_(std::move(client)),
        policy_(policy), stop_(std::move(stop)) {}

  Result<dockerfile::ResolvedImage> Resolve(const std::string& reference, const oci::Platform& platform,
                                            graph::ResolveMode mode) override {
    graph::ImageSource wanted{.reference = reference, .resolve_mode = mode};
    if (policy_ != nullptr) {
      auto source = policy::Evaluate(*policy_, wanted, platform);
      if (!source) return Error(std::move(source).error()).With("could not resolve image due to policy");
      const auto* image = std::get_if<graph::ImageSource>(&*source);
      if (image == nullptr) return dockerfile::ResolvedImage{.platform = platform, .instead = std::move(*source)};
      wanted = *image;
    }
    auto resolve = [&] { return images_.Resolve(wanted.reference, platform, wanted.resolve_mode, stop_); };
    auto show = [&](VertexSink& sink) {
      auto resolved = resolve();
      if (resolved && !resolved->notice.empty()) sink.Log(2, "warning: " + resolved->notice + "\n");
      return resolved;
    };
    bool is_new = shown_.Lock()->insert(reference + " " + platform.ToString()).second;
    // The second asker gets the first one's answer (source/image.h).
    auto image = is_new ? Shown(board_, NameOf(reference, platform), show) : resolve();
    if (!image) return Error(std::move(image).error());
    return Answer(std::move(*image));
  }

  Result<dockerfile::ResolvedImage> ResolveLayout(const graph::OciLayoutSource& layout,
                                                  const oci::Platform& platform) override {
    if (client_) {
      TRY_ASSIGN(auto image, ResolveClientLayout(client_, layout, platform, images_, stop_));
      return Answer(std::move(image));
    }
    std::string reference = layout.digest ? layout.digest->ToString() : layout.reference;
    TRY_ASSIGN(auto image, images_.ResolveLayout(layout.path, reference, platform));
    return Answer(std::move(image));
  }

 private:
  static dockerfile::ResolvedImage Answer(source::ResolvedImage image) {
    oci::Platform platform = image.config.platform();
    std::string pinned = image.reference.substr(0, image.reference.find('@')) + "@" + image.manifest_digest.ToString();
    return {.config = std::move(image.config),
            .manifest_digest = image.manifest_digest,
            .platform = platform,
            .pinned_reference = std::move(pinned)};
  }

  std::string NameOf(const std::string& reference, const oci::Platform& platform) const {
    return dockerfile::MetadataStepName(reference, multi_platform_ ? std::optional(platform) : std::nullopt);
  }

  source::ImageStore& images_;
  progress::Board& board_;
  const bool multi_platform_;
  Guarded<std::set<std::string>>& shown_;
  const ClientStores client_;
  policy::SourcePolicy* const policy_;
  std::stop_token stop_;
};

// The store's memory of records that are gone, as explanations ask for it.
class StoreArchive final : public engine::RecordArchive {
 public:
  explicit StoreArchive(cache::StoreContents& contents) : contents_(contents) {}
  Result<std::optional<cache::StepRecord>> Peek(const StepKey& key) override { return contents_.Read(key); }
  Result<std::optional<cache::DroppedRecord>> WhyDropped(const StepKey& key) override {
    return contents_.WhyDropped(key);
  }
  Result<std::vector<cache::DroppedRecord>> DroppedOf(const std::string& slot, size_t limit) override {
    return contents_.DroppedOf(slot, limit);
  }

 private:
  cache::StoreContents& contents_;
};

// Each once, in the order of the command line; this machine's when none is asked for.
Result<std::vector<oci::Platform>> TargetPlatforms(const BuildFlags& flags) {
  std::vector<oci::Platform> platforms;
  for (const std::string& text : flags.platforms) {
    TRY_ASSIGN(oci::Platform platform, oci::ParsePlatform(text == "native" ? "local" : text));
    if (std::ranges::find(platforms, platform) == platforms.end()) platforms.push_back(platform);
  }
  if (platforms.empty()) platforms.push_back(oci::HostPlatform());
  return platforms;
}

}  // namespace

Status BuildJob::CheckFlags(const BuildFlags& flags, const std::vector<exporter::Output>& outputs) {
  TRY_ASSIGN(auto platforms, TargetPlatforms(flags));
  TRY_ASSIGN(bool several, dockerfile::IsMultiPlatform(flags.build_args, platforms.size()));
  return CheckOutputs(outputs, platforms, several, flags.attest);
}

dockerfile::Parsed<void> BuildJob::Read() {
  auto policy = ReadSourcePolicy(flags_);
  if (!policy) return std::unexpected(dockerfile::SourceError{policy.error(), {}});
  flags_policy_ = std::move(*policy);
  auto context =
      OpenContext(flags_, workspace_.scratch, workspace_.root, workspace_.registries->http(), Policy(), stop_);
  if (!context) return std::unexpected(dockerfile::SourceError{context.error(), {}});
  return Read(std::move(*context));
}

dockerfile::Parsed<void> BuildJob::Read(BuildContext context) {
  context_ = std::move(context);
  dockerfile::BuildArgs build_args;
  for (const auto& [name, value] : flags_.build_args) build_args[name] = value;
  if (auto mine = dockerfile::CheckFrontend(context_.dockerfile, build_args); !mine) return mine;
  auto file = dockerfile::ParseDockerfile(context_.dockerfile);
  if (!file) {
    auto check = build_args.find("BUILDKIT_DOCKERFILE_CHECK");
    warnings_ = dockerfile::WarningsAbove(context_.dockerfile, file.error().span.start_line,
                                          check == build_args.end() ? std::nullopt : std::optional(check->second));
    return std::unexpected(file.error());
  }
  file_ = std::move(*file);
  return {};
}

dockerfile::Parsed<void> BuildJob::Lower() {
  auto platforms = TargetPlatforms(flags_);
  if (!platforms) return std::unexpected(dockerfile::SourceError{platforms.error(), {}});
  auto several = dockerfile::IsMultiPlatform(flags_.build_args, platforms->size());
  ShownImages images(*workspace_.images, board_, several && *several, *shown_images_,
                     client_ != nullptr ? client_->stores : nullptr, Policy(), stop_);
  dockerfile::LowerOptions options = Options();
  if (Status linked = AddLinks(options, *platforms); !linked) {
    return std::unexpected(dockerfile::SourceError{linked.error(), {}});
  }
  auto lowered = dockerfile::LowerForPlatforms(file_, options, *platforms, images, &warnings_);
  if (!lowered) return std::unexpected(lowered.error());
  lowered_ = std::move(*lowered);
  auto scans = AddScans(flags_.attest, lowered_, *workspace_.images, options.resolve_mode, stop_);
  if (!scans) return std::unexpected(dockerfile::SourceError{scans.error(), {}});
  scans_ = std::move(*scans);
  if (Policy() == nullptr) return {};
  Status applied = policy::Apply(*Policy(), lowered_.graph);
  if (!applied) return std::unexpected(dockerfile::SourceError{applied.error(), {}});
  return {};
}

// One input for each platform of the other job; one that has a single platform serves all of ours.
Status BuildJob::AddLinks(dockerfile::LowerOptions& options, const std::vector<oci::Platform>& platforms) const {
  for (const auto& [name, other] : links_) {
    const auto& results = other->lowered_.results;
    for (const oci::Platform& platform : platforms) {
      auto same = std::ranges::find(results, platform, &dockerfile::PlatformResult::platform);
      if (same == results.end() && results.size() > 1) {
        Error error = Invalid("the context \"{}\" is built for other platforms than {}", name, platform.ToString());
        error.hint = "build both for the same platforms";
        return error;
      }
      const auto& lowered = (same == results.end() ? results[0] : *same).lowered;
      std::string input = name + "::" + platform.ToString();
      options.named_contexts.push_back({results.size() > 1 ? input : name, "input:" + input});
      options.inputs[input] = {
          .graph = &other->graph(), .root = lowered.root, .config = lowered.config, .history = lowered.history};
    }
  }
  return Ok();
}

dockerfile::LowerOptions BuildJob::Options() const {
  dockerfile::LowerOptions options;
  options.file_name = context_.dockerfile_name;
  options.target = flags_.target;
  options.all_stages = flags_.call.name == "lint" && flags_.target.empty();
  options.build_platform = oci::HostPlatform();
  options.platform_given = !flags_.platforms.empty();
  options.build_args = flags_.build_args;
  bool has_epoch =
      std::ranges::any_of(flags_.build_args, [](const auto& arg) { return arg.first == "SOURCE_DATE_EPOCH"; });
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH"); epoch != nullptr && !has_epoch) {
    options.build_args.emplace_back("SOURCE_DATE_EPOCH", epoch);
  } else if (flags_.reproducible && !has_epoch) {
    options.build_args.emplace_back("SOURCE_DATE_EPOCH", "0");
  }
  options.labels = flags_.labels;
  options.no_cache = flags_.no_cache;
  options.no_cache_filter = flags_.no_cache_filter;
  options.semantic_manifests = flags_.semantic_manifests;
  options.context.source = graph::LocalSource{
      .name = "context", .exclude = context_.ignore, .include = {}, .ignore_file = context_.ignore_file};
  for (const auto& [name, value] : flags_.build_contexts) options.named_contexts.push_back({name, value});
  if (client_ != nullptr) options.inputs = client_->inputs;
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
  options.source_time = [this](const graph::Op& source, const std::string& name) {
    return Shown(board_, name, [&](engine::StepSink& sink) -> Result<std::optional<int64_t>> {
      const SourceCredentials credentials(flags_, client_);
      if (Policy() == nullptr) return FindSourceTime(source, context_, credentials, workspace_, sink, stop_);
      TRY_ASSIGN(graph::Op allowed, policy::Evaluate(*Policy(), source, oci::HostPlatform()));
      return FindSourceTime(allowed, context_, credentials, workspace_, sink, stop_);
    });
  };
  return options;
}

std::string BuildJob::project() const {
  if (client_ != nullptr) return client_->project;
  char resolved[PATH_MAX];
  const char* path = realpath(context_.directory.c_str(), resolved);
  // Remote and piped contexts get another directory each time; their Dockerfile is all that they have.
  return context_.temporary.empty() && path != nullptr ? path : context_.dockerfile_name;
}

exec::RunnerStores RunnerStoresOf(Workspace& workspace) {
  exec::RunnerStores stores{*workspace.layers, *workspace.local.store,       *workspace.images,
                            *workspace.blobs,  workspace.registries->http(), *workspace.lease,
                            SystemClock()};
  stores.answers = workspace.answers.get();
  return stores;
}

Result<engine::Outcome> RunGraph(GraphRun run, Workspace& workspace, engine::Observer& observer, std::stop_token stop) {
  exec::RunnerStores stores = RunnerStoresOf(workspace);
  if (run.tiers != nullptr) {
    stores.fetch_layer = [&chain = run.tiers->chain()](const DiffId& layer, const OnProgress& progress,
                                                       std::stop_token token) {
      return chain.FetchLayer(layer, progress, token);
    };
    stores.restore_mount = RestoreMountsFrom(run.tiers->chain(), workspace);
  }
  if (!run.dry_run) {
    cache::CacheMounts mounts(workspace.root, SystemClock());
    TRY_ASSIGN(auto busy, EmptyMountsOfUncached(run.graph, run.runner.mount_namespace, mounts));
    for (const std::string& id : busy) {
      if (run.runner.warn) run.runner.warn(fmt::format("cache mount {} keeps its content: another build uses it", id));
    }
  }
  TRY_ASSIGN(auto created, exec::Runner::Create(std::move(run.runner), std::move(stores)));
  std::shared_ptr<exec::Runner> runner = std::move(created);
  engine::Request request{.graph = run.graph,
                          .want_data = run.want_data,
                          .dry_run = run.dry_run,
                          .salt = run.salt,
                          .project = run.project,
                          .trace = run.trace};
  request.wanted = std::move(run.wanted);
  request.max_age = std::move(run.max_age);
  request.must_hit = std::move(run.must_hit);
  cache::LocalStore& store = *workspace.local.store;
  cache::RecordStore& records = run.tiers != nullptr ? static_cast<cache::RecordStore&>(run.tiers->chain()) : store;
  StoreArchive archive(store.contents());
  if (run.previous != nullptr) run.previous->Begin([&runner] { return runner->Images(); });
  ExportAhead* ahead = nullptr;
  if (run.tiers != nullptr && !run.dry_run) {
    auto all = [&](const tier::Spec&) { return CacheTiers::Share{.steps = {}, .wanted = request.wanted}; };
    ahead = run.tiers->StartAhead(
        run.graph, run.share_for ? run.share_for : all, workspace, [&runner] { return runner->Images(); }, stop);
  }
  std::optional<AheadObserver> watched;
  if (ahead != nullptr) watched.emplace(observer, *ahead, run.graph, request.wanted);
  engine::Services services{records,       store,    *runner,
                            *runner,       *runner,  watched ? static_cast<engine::Observer&>(*watched) : observer,
                            SystemClock(), &archive, run.previous};
  engine::Outcome outcome = engine::Build(request, services, stop);
  if (ahead != nullptr) ahead->Close();
  if (run.tiers != nullptr) {
    tier::Chain& chain = run.tiers->chain();
    for (engine::StepOutcome& step : outcome.steps) {
      if (!step.key.empty() && step.tier.empty()) step.tier = chain.TierOf(step.key);
    }
    run.tiers->NoteSaved(outcome);
    Status kept =
        chain.KeepFound([&](auto& outputs) { return runner->FillTrees(outputs) && runner->HasLocally(outputs); });
    if (!kept) LOG_WARN("keeping records of tiers: {}", kept.error().message);
  }
  if (run.images != nullptr) *run.images = runner->Images();
  if (run.pins != nullptr) *run.pins = runner->SourcePins();
  if (run.want_data && !run.dry_run) {
    for (const cache::Rootfs& wanted : outcome.wanted) {
      for (const DiffId& layer : wanted.layers) store.UsedLayer(layer);
    }
  }
  if (!outcome.error && !outcome.shadows.empty()) {
    auto check = [runner, &records, &store, shadows = std::exchange(outcome.shadows, {}), stop] {
      return engine::RunShadows(shadows, {records, store, *runner}, stop);
    };
    if (run.shadows != nullptr) *run.shadows = std::move(check);
    else engine::NoteShadows(check(), outcome.steps);
  }
  return outcome;
}

bool MendAfter(const Error& error, Workspace& workspace, progress::Board& board, std::stop_token stop) {
  if (error.code != Code::kCorrupt) return false;
  auto mended = Shown(board, "[internal] mend the cache", [&](VertexSink& sink) -> Result<bool> {
    upkeep::Stores stores{workspace.root, *workspace.local.store, *workspace.blobs, *workspace.layers, SystemClock()};
    TRY_ASSIGN(auto dropped, upkeep::DropDamaged(stores, *workspace.lease, std::move(stop)));
    for (const std::string& object : dropped) sink.Log(2, object + " is damaged and was dropped\n");
    for (const Digest& layer : workspace.lease->Held(cache::LeaseKind::kLayer)) {
      TRY_ASSIGN(bool here, workspace.layers->Has(DiffId(layer)));
      if (!here) return true;
    }
    return Counter("cas.damaged").value() > 0;
  });
  if (!mended || !*mended) return false;
  board.ExcuseErrors();
  return true;
}

Result<engine::Outcome> BuildJob::Run(const RunOptions& options, engine::Observer& observer) {
  if (flags_.rebuild_cache) {
    for (graph::Step& step : lowered_.graph.steps) {
      if (step.no_cache) step.no_cache_rule = "--rebuild-cache";
    }
  }
  all_here_ = options.want_data;
  checks_.Wait();  // they ask the tiers of the run before
  TRY_ASSIGN(tiers_, CacheTiers::Open(flags_, workspace_, !options.isolated.empty(), stop_,
                                      client_ != nullptr ? client_->stores : nullptr));
  TRY_ASSIGN(auto runner, MakeRunnerOptions(options.isolated));
  PreviousImages previous(tiers_->images(), tiers_->chain(), workspace_, board_, {{.lowered = lowered_}},
                          options.dry_run);
  GraphRun run{.graph = lowered_.graph,
               .wanted = {},
               .runner = std::move(runner),
               .project = project() + options.isolated,
               .salt = flags_.salt + options.isolated,
               .want_data = options.want_data,
               .dry_run = options.dry_run,
               .trace = flags_.trace,
               .tiers = tiers_.get(),
               .previous = tiers_->images().empty() ? nullptr : &previous,
               .images = &images_,
               .pins = &built_.pins};
  built_.graph = &lowered_.graph;
  built_.started = SystemClock().Now();
  run.wanted = options.wanted.empty() ? Wanted() : options.wanted;
  run.max_age = AgeLimits(lowered_.graph, flags_.max_age, options.max_age);
  // What is forecast may miss; whoever asked decides what that means.
  if (!options.dry_run) {
    TRY_ASSIGN(run.must_hit, MustHit(lowered_.graph, flags_.must_hit));
  }
  if (options.must_hit_all) run.must_hit.assign(lowered_.graph.steps.size(), true);
  ReplayChecks::Work shadows;
  if (options.shadows_later) run.shadows = &shadows;
  auto outcome = RunGraph(std::move(run), workspace_, observer, stop_);
  checks_.Start(std::move(shadows));
  tiers_->WarnOfFailures(board_);
  return outcome;
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
    if (!entry.key.starts_with(lowered().cache_mount_namespace + isolated + "/")) continue;
    if (auto removed = mounts.Remove(entry); !removed) LOG_WARN("{}", removed.error().message);
  }
}

std::vector<graph::Ref> BuildJob::Wanted() const {
  std::vector<graph::Ref> wanted;
  for (const auto& [platform, lowered] : lowered_.results) {
    if (lowered.root) wanted.push_back(*lowered.root);
  }
  wanted.insert(wanted.end(), scans_.begin(), scans_.end());
  return wanted;
}

Status BuildJob::Attest(const engine::Outcome& outcome, exporter::BuildResult& result) {
  if (!flags_.attest.Any()) return Ok();
  const exporter::ExportStores stores = Stores();
  size_t first_scan = outcome.wanted.size() - scans_.size();
  for (size_t i = 0; i < result.platforms.size(); ++i) {
    std::vector<attest::Attestation>& attestations = result.platforms[i].attestations;
    if (!scans_.empty()) {
      TRY_ASSIGN(attestations, SbomsOf(outcome.wanted[first_scan + i], stores));
    }
    if (!flags_.attest.provenance) continue;
    TRY_ASSIGN(auto provenance, Provenance(*flags_.attest.provenance, outcome, i, flags_.attest.provenance->max));
    attestations.push_back(std::move(provenance));
  }
  return Ok();
}

Result<attest::Attestation> BuildJob::Provenance(const attest::ProvenanceRequest& asked, const engine::Outcome& outcome,
                                                 size_t platform, bool with_layers) {
  LayersOf layers_of;
  if (with_layers) {
    TRY_ASSIGN(auto records, RecordsOf({*built_.graph, outcome, images_}, tiers_->chain(), *workspace_.local.store));
    layers_of = LayersOfSteps(*built_.graph, std::move(records), images_);
  }
  const ClientFacts* facts = client_ != nullptr && client_->facts ? &*client_->facts : nullptr;
  return ProvenanceOf(asked, flags_, context_, lowered_.results[platform].lowered, outcome, built_, layers_of, facts);
}

Result<exporter::BuildResult> BuildJob::ResultOf(const engine::Outcome& outcome) const {
  const bool inline_cache = WantsInlineCache(flags_) && tiers_ != nullptr;
  StepRecords records;
  if (inline_cache) {
    TRY_ASSIGN(records, RecordsOf({lowered_.graph, outcome, images_}, tiers_->chain(), *workspace_.local.store));
  }
  exporter::BuildResult result{.multi_platform = lowered_.multi_platform};
  auto rootfs = outcome.wanted.begin();
  for (const auto& [platform, lowered] : lowered_.results) {
    exporter::ImageInput input{.config = lowered.config, .base_history = lowered.base_history};
    input.rootfs = lowered.root ? *rootfs++ : cache::Rootfs{{}, tree::EmptyTree()};
    for (const dockerfile::HistoryEntry& entry : lowered.history) {
      Timestamp made = entry.step ? outcome.steps[*entry.step].created : Timestamp{0};
      input.made.push_back(made.nanos != 0 ? std::optional(made) : std::nullopt);
    }
    if (inline_cache) TRY(AddInlineCache(lowered_.graph, lowered.root, records, *workspace_.local.store, input));
    if (lowered.base_config) input.base_layers = lowered.base_config->diff_ids().size();
    // A bare manifest is for what its config says: where nobody asked for a platform, the base image's.
    result.platforms.push_back({lowered_.multi_platform ? platform : lowered.config.platform(), std::move(input)});
  }
  return result;
}

std::set<DiffId> BuildJob::LayersOfImages() const {
  std::set<DiffId> layers;
  for (const source::ResolvedImage& image : images_) {
    if (!image.repository.empty()) layers.insert(image.diff_ids.begin(), image.diff_ids.end());
  }
  return layers;
}

exporter::ExportStores BuildJob::Stores() {
  exporter::ExportStores stores = StoresOf(workspace_);
  if (!all_here_) {
    tier::Chain& chain = tiers_->chain();
    stores.elsewhere = {
        .describe = [&chain](const DiffId& layer, std::stop_token token) { return chain.DescribeLayer(layer, token); },
        .fetch = [&chain](const DiffId& layer,
                          std::stop_token token) { return chain.FetchLayer(layer, nullptr, token); }};
  }
  return stores;
}

Result<std::vector<oci::ImageConfig>> BuildJob::Configs(const engine::Outcome& outcome, exporter::Output output) {
  if (!output.source_date_epoch) output.source_date_epoch = lowered().epoch;
  std::vector<oci::ImageConfig> configs;
  TRY_ASSIGN(exporter::BuildResult result, ResultOf(outcome));
  for (const exporter::PlatformInput& of : result.platforms) {
    TRY_ASSIGN(auto config, exporter::MakeConfig(of.input, output, Stores(), stop_));
    configs.push_back(std::move(config));
  }
  return configs;
}

Result<exporter::BuildResult> BuildJob::AttestedResult(const engine::Outcome& outcome) {
  TRY_ASSIGN(exporter::BuildResult result, ResultOf(outcome));
  TRY(Attest(outcome, result));
  return result;
}

Result<ExportedBuild> BuildJob::Export(const engine::Outcome& outcome, const std::vector<exporter::Output>& outputs) {
  TRY_ASSIGN(exporter::BuildResult result, AttestedResult(outcome));
  return Export(result, outputs);
}

Result<ExportedBuild> BuildJob::Export(const exporter::BuildResult& result,
                                       const std::vector<exporter::Output>& outputs) {
  // To show the files of a result, it is mounted.
  auto is_image = [](const exporter::Output& output) { return output.type == exporter::OutputType::kImage; };
  if (!std::ranges::all_of(outputs, is_image)) TRY(sys::EnterDeferredMountNamespace());
  std::vector<exporter::Output> dated = outputs;
  for (exporter::Output& output : dated) {
    if (output.source_date_epoch) continue;
    output.source_date_epoch = lowered().epoch;
    // The image is of that time all the same.
    if (output.no_epoch) output.timestamps = exporter::Timestamps::kKeep;
  }
  return ExportBuild(dated, result, Stores(), workspace_.registries->pusher(), workspace_.scratch, board_, stop_,
                     client_ != nullptr ? client_->outputs : nullptr);
}

BuiltSteps BuildJob::Built(const engine::Outcome& outcome) const {
  return {lowered_.graph, outcome, images_, lowered().cache_mount_namespace};
}

Status BuildJob::ExportCaches(const engine::Outcome& outcome) {
  return tiers_->Export([&](const tier::Spec&) { return Built(outcome); }, Stores(), board_, stop_);
}

bool BuildJob::ExportsCaches() const { return tiers_->HasExports(); }

void BuildJob::ExportFinished(const engine::Outcome& outcome) {
  // A store that is damaged may be mended, and the build tried again.
  if (tiers_ == nullptr || stop_.stop_requested() || outcome.error->code == Code::kCorrupt) return;
  tiers_->ExportFinished([&](const tier::Spec&) { return Built(outcome); }, Stores(), board_, stop_);
}

Result<exec::RunnerOptions> BuildJob::MakeRunnerOptions(const std::string& isolated) {
  exec::RunnerOptions options{.root = workspace_.root,
                              .directories = context_.named_directories,
                              .mount_namespace = lowered().cache_mount_namespace + isolated};
  options.context_mode = flags_.context_mode;
  options.prepare = sys::EnterDeferredMountNamespace;
  if (!context_.directory.empty()) options.directories["context"] = context_.directory;
  if (client_ != nullptr) {
    options.other_directories = client_->directories;
    options.uploads = client_->uploads;
    options.secrets_elsewhere = client_->secrets;
    options.keep_failed = client_->keep_failed;
    options.steps = client_->steps;
    options.layouts = LayoutsOf(client_->stores, *workspace_.images);
    options.stores = BlobsOf(client_->stores);
    if (client_->ssh) {
      TRY_ASSIGN(options.ssh, client_->ssh(lowered_.graph));
    }
    return options;
  }
  options.secrets = SecretSourcesOf(flags_);
  options.warn = [&board = board_](const std::string& text) { board.Warn({.text = text}); };
  TRY_ASSIGN(agents_, StartSshAgents(flags_.ssh, workspace_.scratch));
  options.ssh = agents_->agents();
  return options;
}

}  // namespace varve::job
