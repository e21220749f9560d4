#include "daemon/llb_build.h"

#include <algorithm>
#include <set>
#include <span>
#include <thread>

#include "job/attestations.h"
#include "job/build_outputs.h"
#include "job/built_together.h"
#include "job/inline_cache.h"
#include "job/previous_images.h"

namespace varve::daemon {

namespace {

// As BuildKit's exporter makes one where the front end has none (exporters.md §5).
oci::ImageConfig DefaultConfig(const oci::Platform& platform) {
  Json config;
  config.Set("architecture", platform.architecture).Set("os", platform.os);
  config.SetIf(!platform.variant.empty(), "variant", platform.variant);
  Json run;
  run.Set("Env", Json::Strings({"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}));
  run.Set("WorkingDir", "/");
  config.Set("config", std::move(run));
  config.Set("rootfs", Json().Set("type", "layers").Set("diff_ids", Json::EmptyArray()));
  return *oci::ImageConfig::Parse(config.Dump());
}

Result<oci::Platform> PlatformOf(const WantedResult& wanted) {
  if (wanted.id.empty()) return oci::HostPlatform();
  return oci::ParsePlatform(wanted.id);
}

}  // namespace

LlbBuild::LlbBuild(llb::Decoded decoded, pb::Definition definition, job::BuildFlags flags, BuildTargets targets,
                   BuildPlace place, std::optional<BuildOrigin> origin)
    : decoded_(std::move(decoded)), definition_(std::move(definition)), flags_(std::move(flags)),
      targets_(std::move(targets)), place_(std::move(place)), origin_(std::move(origin)),
      files_(
          place_.client,
          ClientFiles::Options{
              .project = place_.client.project() + "\nllb", .scratch = place_.workspace.scratch, .steps = place_.steps},
          place_.stop),
      started_(SystemClock().Now()) {
  for (const pb::SourceInfo& info : definition_.source().infos()) {
    sources_.push_back({.name = info.filename(), .text = info.data(), .language = info.language()});
    auto read_by = llb::Decode(info.definition());
    if (read_by && read_by->root)
      sources_.back().read_by = attest::MakeBuildConfig(read_by->graph, read_by->root).definition;
  }
}

// Clients know vertices by the digests of their Ops, and group some of them.
void LlbBuild::ShowAsTheClientDoes() {
  std::set<size_t> shown;
  for (graph::StepIndex step = 0; step < decoded_.vertex_of.size(); ++step) {
    const size_t index = decoded_.vertex_of[step];
    if (!shown.insert(index).second) continue;  // an Op of several steps: the others have digests of their own
    const llb::Vertex& vertex = decoded_.vertices[index];
    pb::ProgressGroup group;
    if (vertex.progress_group) {
      group.set_id(vertex.progress_group->id);
      group.set_name(vertex.progress_group->name);
      group.set_weak(vertex.progress_group->weak);
    }
    place_.feed.SetIdentity(observer_->VertexOf(step), vertex.digest.ToString(), std::move(group));
  }
}

std::shared_ptr<const FailedOp> LlbBuild::OpOf(graph::StepIndex step) {
  if (step >= decoded_.vertex_of.size()) return nullptr;  // a scan of the result
  auto found = FindOp(definition_, decoded_.vertices[decoded_.vertex_of[step]].digest.ToString());
  if (!found) return nullptr;
  found->kept = kept_.Take(step);
  return std::make_shared<const FailedOp>(std::move(*found));
}

// In the files that the client made the definition from; the last one first, as clients expect them.
std::vector<FailurePlace> LlbBuild::PlacesOf(graph::StepIndex step) const {
  std::vector<FailurePlace> places;
  auto at = definition_.source().locations().find(decoded_.vertices[decoded_.vertex_of[step]].digest.ToString());
  if (at == definition_.source().locations().end()) return places;
  for (const pb::Location& location : at->second.locations()) {
    if (location.source_index() < 0 || location.source_index() >= definition_.source().infos_size()) continue;
    const pb::SourceInfo& info = definition_.source().infos(location.source_index());
    FailurePlace place{.file = info.filename(), .text = info.data(), .language = info.language()};
    if (info.has_definition()) place.origin = info.definition();
    place.ranges.assign(location.ranges().begin(), location.ranges().end());
    places.insert(places.begin(), std::move(place));
  }
  return places;
}

std::optional<Failure> LlbBuild::Run(bool want_data, job::BuildHistory* history) {
  auto run = [&]() -> Status {
    std::set<std::string> granted(flags_.allow.begin(), flags_.allow.end());
    TRY(llb::CheckEntitlements(decoded_.graph, granted));
    TRY(graph::Validate(decoded_.graph));
    if (!observer_ || outcome_.error) {
      observer_ = std::make_unique<job::BoardObserver>(place_.board, decoded_.graph);
      ShowAsTheClientDoes();
    }
    checks_.Wait();  // they ask the tiers of the run before
    TRY_ASSIGN(tiers_, job::CacheTiers::Open(flags_, place_.workspace, false, place_.stop, files_.hooks().stores));
    const job::BuildClient& client = files_.hooks();
    exec::RunnerOptions options{.root = place_.workspace.root,
                                .directories = {},
                                .other_directories = client.directories,
                                .uploads = client.uploads,
                                .secrets = {},
                                .secrets_elsewhere = client.secrets,
                                .steps = client.steps,
                                .keep_failed = client.keep_failed};
    options.layouts = job::LayoutsOf(client.stores, *place_.workspace.images);
    options.stores = job::BlobsOf(client.stores);
    TRY_ASSIGN(options.ssh, client.ssh(decoded_.graph));
    engine::TraceRules trace = flags_.trace;
    trace.shadow_percent = place_.shadow_percent;
    job::GraphRun graph_run{.graph = decoded_.graph,
                            .wanted = {},
                            .runner = std::move(options),
                            .project = client.project,
                            .salt = flags_.salt,
                            .want_data = want_data,
                            .trace = trace,
                            .tiers = tiers_.get(),
                            .images = &images_,
                            .pins = &pins_};
    // Definitions have no history to be laid beside images', but images may have records.
    dockerfile::LoweredPlatforms platforms{.results = std::vector<dockerfile::PlatformResult>(1)};
    platforms.results[0].lowered.config =
        DefaultConfig(decoded_.root ? decoded_.graph.at(*decoded_.root).platform : oci::HostPlatform());
    job::PreviousImages previous(tiers_->images(), tiers_->chain(), place_.workspace, place_.board,
                                 {{.lowered = platforms, .of_any_platform = true}}, false);
    if (!tiers_->images().empty()) graph_run.previous = &previous;
    if (decoded_.root) graph_run.wanted.push_back(*decoded_.root);
    graph_run.wanted.insert(graph_run.wanted.end(), decoded_.besides.begin(), decoded_.besides.end());
    if (scan_) graph_run.wanted.push_back(*scan_);
    job::ReplayChecks::Work shadows;
    graph_run.shadows = &shadows;
    engine::Observer& watched =
        history != nullptr ? history->Watch(*observer_, decoded_.graph) : static_cast<engine::Observer&>(*observer_);
    TRY_ASSIGN(outcome_, job::RunGraph(std::move(graph_run), place_.workspace, watched, place_.stop));
    checks_.Start(std::move(shadows));
    tiers_->WarnOfFailures(place_.board);
    return Ok();
  };
  if (Status ran = run(); !ran) return Failure{ran.error()};
  if (!outcome_.error) return std::nullopt;
  if (!place_.stop.stop_requested() && outcome_.error->code != Code::kCorrupt) {
    auto built_for = [&](const tier::Spec&) { return Built(); };
    tiers_->ExportFinished(built_for, Stores(), place_.board, place_.stop);
  }
  Failure failure{*outcome_.error};
  if (outcome_.failed_step) {
    failure.vertex = place_.feed.DigestOf(observer_->VertexOf(*outcome_.failed_step));
    failure.more_places = PlacesOf(*outcome_.failed_step);
    NameMissingFile(decoded_.graph.steps[*outcome_.failed_step], failure);
    failure.op = OpOf(*outcome_.failed_step);
  }
  return failure;
}

cache::Rootfs LlbBuild::RootfsOf(size_t) const {
  return decoded_.root ? outcome_.wanted[0] : cache::Rootfs{{}, tree::EmptyTree()};
}

std::vector<history::TierUse> LlbBuild::CacheUses() const {
  return tiers_ ? tiers_->Uses() : std::vector<history::TierUse>();
}

exporter::ExportStores LlbBuild::Stores() const { return job::StoresOf(place_.workspace); }

Result<attest::Attestation> LlbBuild::ProvenanceOf(const attest::ProvenanceRequest& asked,
                                                   const std::vector<const LlbBuild*>& besides,
                                                   bool with_layers) const {
  attest::BuildFacts facts{.graph = decoded_.graph,
                           .root = decoded_.root,
                           .pins = pins_,
                           .asked = origin_ ? origin_->asked : attest::Invocation(),
                           .invocation_id = job::RandomInvocation(),
                           .started = started_,
                           .finished = SystemClock().Now(),
                           .environment = place_.provenance_environment,
                           .sources = sources_};
  if (origin_) facts.client = origin_->client;
  for (const LlbBuild* other : besides) {
    facts.started = std::min(facts.started, other->started_);
    if (other != this && !other->outcome_.steps.empty()) {
      facts.besides.push_back({other->decoded_.graph, other->decoded_.root, other->pins_});
    }
  }
  facts.digest_of = [&](graph::StepIndex step) {
    return decoded_.vertices[decoded_.vertex_of[step]].digest;  // scans are no part of the result
  };
  if (with_layers && tiers_) {
    TRY_ASSIGN(auto records, Records());
    facts.layers_of = job::LayersOfSteps(decoded_.graph, std::move(records), images_);
  }
  return attest::MakeProvenance(asked, facts);
}

Result<attest::Attestation> LlbBuild::HistoryProvenance(const WantedResult&,
                                                        const std::vector<const LlbBuild*>& besides) {
  return ProvenanceOf(HistoryRequest(flags_.attest), besides, false);
}

Status LlbBuild::AddScan(const WantedResult& wanted) {
  if (scan_ || !flags_.attest.sbom || !decoded_.root) return Ok();
  TRY_ASSIGN(oci::Platform platform, PlatformOf(wanted));
  checks_.Wait();  // they look at the graph
  dockerfile::LoweredPlatforms lowered{.graph = std::move(decoded_.graph),
                                       .results = std::vector<dockerfile::PlatformResult>(1)};
  lowered.results[0].platform = platform;
  lowered.results[0].lowered.root = decoded_.root;
  auto scans =
      job::AddScans(flags_.attest, lowered, *place_.workspace.images, graph::ResolveMode::kDefault, place_.stop);
  decoded_.graph = std::move(lowered.graph);
  observer_.reset();  // it knows the steps that there were
  if (!scans) return Error(std::move(scans).error());
  scan_ = scans->at(0);
  return Ok();
}

Result<job::StepRecords> LlbBuild::Records() const {
  if (!tiers_ || outcome_.steps.empty()) return job::StepRecords();
  return job::RecordsOf(Built(), tiers_->chain(), *place_.workspace.local.store);
}

// When the layers were made: an image that comes from a cache is to be the one that went into it.
std::vector<std::optional<Timestamp>> LlbBuild::TimesOf(const std::vector<DiffId>& layers,
                                                        const job::StepRecords& records) const {
  std::map<DiffId, Timestamp> times;
  for (const source::ResolvedImage& image : images_) {
    size_t layer = 0;
    for (const oci::History& entry : image.config.history()) {
      if (entry.empty_layer || layer >= image.diff_ids.size()) continue;
      if (entry.created) times.emplace(image.diff_ids[layer], *entry.created);
      ++layer;
    }
  }
  for (const auto& [step, record] : records) {
    for (const cache::Rootfs& output : record.outputs) {
      if (!output.layers.empty()) times.emplace(output.layers.back(), record.created);
    }
  }
  std::vector<std::optional<Timestamp>> made;
  for (const DiffId& layer : layers) {
    auto time = times.find(layer);
    made.push_back(time == times.end() ? std::nullopt : std::optional(time->second));
  }
  return made;
}

Result<exporter::PlatformInput> LlbBuild::InputOf(const WantedResult& wanted,
                                                  const std::vector<const LlbBuild*>& besides) {
  exporter::PlatformInput of;
  TRY_ASSIGN(of.platform, PlatformOf(wanted));
  if (wanted.config.empty()) {
    of.input.config = DefaultConfig(of.platform);
  } else {
    TRY_ASSIGN(of.input.config, ConfigOf(wanted));
    if (wanted.id.empty()) of.platform = of.input.config.platform();
  }
  of.input.rootfs = RootfsOf(0);
  TRY_ASSIGN(auto records, Records());
  of.input.layers_made = TimesOf(of.input.rootfs.layers, records);
  if (job::WantsInlineCache(flags_)) {
    TRY(job::AddInlineCache(decoded_.graph, decoded_.root, records, *place_.workspace.local.store, of.input));
  }
  // Layers of the image that the result was built on keep their times.
  const std::vector<DiffId>& layers = of.input.rootfs.layers;
  for (const source::ResolvedImage& image : images_) {
    const std::vector<DiffId>& base = image.diff_ids;
    const bool below = base.size() <= layers.size() && std::ranges::equal(base, std::span(layers).first(base.size()));
    if (below) of.input.base_layers = std::max(of.input.base_layers, base.size());
  }
  of.attestations = wanted.attestations;
  if (scan_) {
    TRY_ASSIGN(auto sboms, job::SbomsOf(outcome_.wanted.back(), Stores()));
    of.attestations.insert(of.attestations.end(), std::make_move_iterator(sboms.begin()),
                           std::make_move_iterator(sboms.end()));
  }
  if (flags_.attest.provenance) {
    const attest::ProvenanceRequest& asked = *flags_.attest.provenance;
    TRY_ASSIGN(auto provenance, ProvenanceOf(asked, besides, asked.max));
    of.attestations.push_back(std::move(provenance));
  }
  return of;
}

std::optional<Failure> LlbBuild::Export(const std::vector<ResultPart>& parts,
                                        const std::vector<const LlbBuild*>& besides, Json& metadata) {
  auto work = [&]() -> Status {
    TRY_ASSIGN(exporter::BuildResult result, InputsOf(parts, besides));
    std::vector<oci::Platform> platforms;
    for (const exporter::PlatformInput& input : result.platforms) platforms.push_back(input.platform);
    const std::vector<exporter::Output> outputs = OutputsFor(targets_.outputs, parts[0].wanted);
    TRY(job::CheckOutputs(outputs, platforms, result.multi_platform, flags_.attest));
    job::BuiltTogether together;
    std::set<const LlbBuild*> added;
    for (const ResultPart& part : parts) {
      if (part.llb != nullptr && added.insert(part.llb).second) together.Add(part.llb->Built());
    }
    auto built_for = [&](const tier::Spec&) { return together.steps(); };
    Status cached = Ok();
    auto export_caches = [&] { cached = tiers_->Export(built_for, Stores(), place_.board, place_.stop); };
    std::optional<std::jthread> caches;
    if (!checks_.running()) caches.emplace(export_caches);
    auto exported = job::ExportBuild(outputs, result, Stores(), place_.workspace.registries->pusher(),
                                     place_.workspace.scratch, place_.board, place_.stop, files_.hooks().outputs);
    checks_.Finish(decoded_.graph, outcome_, place_.board);
    if (caches) caches->join();
    else export_caches();
    TRY_ASSIGN(exported_, std::move(exported));
    metadata = exported_.metadata;
    TellCacheList(tiers_->client_list(), metadata);
    return cached;
  };
  Status done = work();
  if (done) return std::nullopt;
  return Failure{done.error()};
}

}  // namespace varve::daemon
