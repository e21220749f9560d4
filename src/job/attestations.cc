#include "job/attestations.h"

#include <fcntl.h>

#include <algorithm>
#include <random>

#include "base/fd.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "oci/reference.h"
#include "sys/open.h"

namespace varve::job {

namespace {

constexpr char kScanOutput[] = "/run/out/";
constexpr char kScanSource[] = "/run/src/core/sbom";
constexpr char kScanExtras[] = "/run/src/extras/";

std::string Csv(const std::vector<std::string>& items) { return Join(items, ","); }

// Frontend attributes by the names that Buildx sends (reference daemon-api.md §5).
std::map<std::string, std::string> FrontendArgs(const BuildFlags& flags, const BuildContext& context) {
  std::map<std::string, std::string> args;
  auto set = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) args[name] = value;
  };
  for (const auto& [name, value] : flags.build_args) args["build-arg:" + name] = value;
  for (const auto& [name, value] : flags.labels) args["label:" + name] = value;
  for (const auto& [name, value] : flags.build_contexts) {
    bool remote = value.find("://") != std::string::npos;
    args["context:" + name] = remote ? graph::WithoutCredentials(value) : "local:" + name;
  }
  set("target", flags.target);
  set("filename", context.dockerfile_name);
  if (context.origin) args["context"] = graph::WithoutCredentials(flags.context);
  if (flags.no_cache) args["no-cache"] = "";
  set("no-cache", Csv(flags.no_cache_filter));
  if (flags.network == graph::NetworkMode::kHost) args["force-network-mode"] = "host";
  if (flags.network == graph::NetworkMode::kNone) args["force-network-mode"] = "none";
  std::vector<std::string> hosts, limits;
  for (const auto& [host, ip] : flags.extra_hosts) hosts.push_back(host + "=" + ip);
  for (const graph::Ulimit& limit : flags.ulimits)
    limits.push_back(fmt::format("{}={}:{}", limit.name, limit.soft, limit.hard));
  set("add-hosts", Csv(hosts));
  set("ulimit", Csv(limits));
  if (flags.shm_size != 0) args["shm-size"] = std::to_string(flags.shm_size);
  return args;
}

graph::Mount ReadMount(graph::Step& step, const std::optional<graph::Ref>& from, std::string target) {
  graph::Mount mount{.target = std::move(target), .readonly = true};
  if (from) {
    mount.input = static_cast<int>(step.inputs.size());
    step.inputs.push_back(*from);
  }
  return mount;
}

graph::Step ScanStep(const attest::SbomRequest& request, const source::ResolvedImage& image, graph::Ref scanner,
                     const dockerfile::PlatformResult& of) {
  graph::Step step{.op = graph::Exec{}, .inputs = {scanner}, .platform = oci::HostPlatform()};
  step.name = fmt::format("[{}] generating sbom using {}", of.platform.ToString(), image.reference);
  step.text = step.name;
  graph::Exec exec;
  exec.args = image.config.entrypoint().value_or(std::vector<std::string>());
  std::vector<std::string> command = image.config.cmd().value_or(std::vector<std::string>());
  exec.args.insert(exec.args.end(), command.begin(), command.end());
  exec.env = image.config.env();
  exec.cwd = image.config.working_dir().empty() ? "/" : image.config.working_dir();
  exec.env.push_back(std::string("BUILDKIT_SCAN_DESTINATION=") + kScanOutput);
  exec.env.push_back(std::string("BUILDKIT_SCAN_SOURCE=") + kScanSource);
  exec.mounts = {graph::Mount{.target = "/", .input = 0}, graph::Mount{.target = "/run/out", .output = 0},
                 graph::Mount{.type = graph::MountType::kTmpfs, .target = "/tmp"}};
  exec.mounts.push_back(ReadMount(step, of.lowered.root, kScanSource));
  size_t own = exec.mounts.size();
  if (of.lowered.sbom_context) {
    exec.mounts.push_back(ReadMount(step, of.lowered.context, std::string(kScanExtras) + "sbom-context"));
  }
  for (const auto& [stage, root] : of.lowered.sbom_stages) {
    exec.mounts.push_back(ReadMount(step, root, std::string(kScanExtras) + "sbom-" + stage));
  }
  if (exec.mounts.size() > own) exec.env.push_back(std::string("BUILDKIT_SCAN_SOURCE_EXTRAS=") + kScanExtras);
  for (const auto& [name, value] : request.parameters) exec.env.push_back("BUILDKIT_SCAN_" + name + "=" + value);
  step.op = std::move(exec);
  return step;
}

// A file in the root of a scan's result.
Result<std::string> ReadScanned(const cache::Rootfs& scan, const std::string& name,
                                const exporter::ExportStores& stores) {
  for (auto layer = scan.layers.rbegin(); layer != scan.layers.rend(); ++layer) {
    TRY_ASSIGN(std::string directory, stores.layers.Directory(*layer));
    TRY_ASSIGN(Fd root, sys::OpenDir(directory));
    auto fd = sys::OpenInRoot(root.get(), RelPath(name), O_RDONLY | O_NONBLOCK, 0, {.no_symlinks = true});
    if (!fd) continue;
    FdReader reader(fd->get());
    return ReadAll(reader, attest::kMaxPredicate);
  }
  return Corrupt("{} is in the tree of a scan, but in none of its layers", name);
}

Result<attest::Attestation> ReadStatement(const std::string& name, const std::string& text) {
  auto statement = Json::Parse(text);
  if (!statement) return Error(std::move(statement).error()).With("the scanner's " + name + " is no in-toto statement");
  std::string type = statement->GetString("predicateType");
  const Json* predicate = statement->Find("predicate");
  if (type != attest::kSpdx || predicate == nullptr) {
    Error error = Invalid("the scanner's {} is no in-toto statement with the predicate type {}", name, attest::kSpdx);
    error.hint = "a scanner writes such statements to $BUILDKIT_SCAN_DESTINATION";
    return error;
  }
  attest::Attestation sbom{.predicate_type = type, .predicate = *predicate, .file = name};
  if (const Json* subjects = statement->Find("subject"); subjects != nullptr && subjects->is_array()) {
    sbom.subjects = *subjects;
  }
  return sbom;
}

}  // namespace

std::string RandomInvocation() {
  static constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::random_device random;
  std::string id;
  for (int i = 0; i < 25; ++i) id += kDigits[random() % kDigits.size()];
  return id;
}

Result<std::vector<graph::Ref>> AddScans(const attest::Request& request, dockerfile::LoweredPlatforms& lowered,
                                         source::ImageStore& images, graph::ResolveMode mode, std::stop_token stop) {
  std::vector<graph::Ref> scans;
  if (!request.sbom) return scans;
  TRY_ASSIGN(oci::Reference reference, oci::ParseReference(request.sbom->generator));
  auto resolved = images.Resolve(reference.WithDefaultTag().String(), oci::HostPlatform(), mode, stop);
  if (!resolved) return Error(std::move(resolved).error()).With("the SBOM scanner");
  bool has_command = !resolved->config.entrypoint().value_or(std::vector<std::string>()).empty() ||
                     !resolved->config.cmd().value_or(std::vector<std::string>()).empty();
  if (!has_command) {
    return Invalid("the SBOM scanner {} has neither an entry point nor a command", request.sbom->generator);
  }
  std::string pinned =
      resolved->reference.substr(0, resolved->reference.find('@')) + "@" + resolved->manifest_digest.ToString();
  graph::Step scanner{.op = graph::ImageSource{.reference = pinned, .resolve_mode = mode},
                      .platform = oci::HostPlatform(),
                      .name = "[internal] SBOM scanner " + request.sbom->generator};
  scanner.text = scanner.name;
  graph::Ref image{lowered.graph.Add(std::move(scanner)), 0};
  for (const dockerfile::PlatformResult& result : lowered.results) {
    scans.push_back({lowered.graph.Add(ScanStep(*request.sbom, *resolved, image, result)), 0});
  }
  return scans;
}

LayersOf LayersOfSteps(const graph::Graph& graph, StepRecords records,
                       const std::vector<source::ResolvedImage>& images) {
  return [&graph, &images, records = std::move(records)](const graph::Ref& ref) -> std::vector<DiffId> {
    if (auto record = records.find(ref.step); record != records.end() && ref.output < record->second.outputs.size()) {
      return record->second.outputs[ref.output].layers;
    }
    const auto* source = std::get_if<graph::ImageSource>(&graph.steps[ref.step].op);
    if (source == nullptr) return {};
    for (const source::ResolvedImage& image : images) {
      const std::string pinned =
          image.reference.substr(0, image.reference.find('@')) + "@" + image.manifest_digest.ToString();
      if (source->reference == image.reference || source->reference == pinned) return image.diff_ids;
    }
    return {};
  };
}

Result<attest::Attestation> ProvenanceOf(const attest::ProvenanceRequest& asked, const BuildFlags& flags,
                                         const BuildContext& context, const dockerfile::Lowered& lowered,
                                         const engine::Outcome& outcome, const BuiltGraph& built,
                                         const LayersOf& layers_of, const ClientFacts* client) {
  // What a remote context is, is known by where it came from: the graph has a directory in its place, where it uses it.
  graph::Graph graph, origin;
  attest::SourcePins origin_pins = {{0, context.origin_pin}};
  attest::BuildFacts facts{.graph = context.origin ? graph : *built.graph,
                           .root = lowered.root,
                           .pins = built.pins,
                           .asked = {.frontend = "dockerfile.v0", .args = FrontendArgs(flags, context)},
                           .invocation_id = RandomInvocation(),
                           .started = built.started,
                           .finished = SystemClock().Now()};
  if (!context.dockerfile.empty()) facts.sources.push_back({context.dockerfile_name, context.dockerfile});
  if (client != nullptr) {
    facts.asked = client->asked;
    facts.client = client->client;
    facts.frontend_version = client->frontend_version;
    facts.locals = client->locals;
    facts.environment = client->environment;
    for (attest::SourceFile& file : facts.sources) file.read_by = client->read_by;
  }
  if (context.origin) {
    facts.asked.context_digest = context.OriginDigest();
    graph = *built.graph;
    for (graph::StepIndex i = 0; i < graph.steps.size(); ++i) {
      const auto* local = std::get_if<graph::LocalSource>(&graph.steps[i].op);
      if (local == nullptr || local->name != "context") continue;
      graph.steps[i].op = *context.origin;
      facts.pins[i] = context.origin_pin;
    }
    origin.Add({.op = *context.origin});
    facts.besides.push_back({origin, graph::Ref{0, 0}, origin_pins});
  }
  facts.digest_of = [&](graph::StepIndex step) { return outcome.steps[step].key.value; };
  facts.layers_of = layers_of;
  return attest::MakeProvenance(asked, facts);
}

Result<std::vector<attest::Attestation>> SbomsOf(const cache::Rootfs& scan, const exporter::ExportStores& stores) {
  std::vector<attest::Attestation> sboms;
  TRY_ASSIGN(auto directory, tree::GetDirectory(stores.local, scan.tree_root));
  for (const tree::Node& node : directory->entries) {
    if (node.type != tree::NodeType::kFile) return Invalid("the scanner wrote {}, which is no file", node.name);
    TRY_ASSIGN(std::string text, ReadScanned(scan, node.name, stores));
    TRY_ASSIGN(attest::Attestation sbom, ReadStatement(node.name, text));
    sboms.push_back(std::move(sbom));
  }
  if (sboms.empty()) {
    Error error = Invalid("the SBOM scanner wrote nothing");
    error.hint = "a scanner writes in-toto statements to $BUILDKIT_SCAN_DESTINATION";
    return error;
  }
  std::ranges::stable_partition(sboms,
                                [](const auto& sbom) { return sbom.file.substr(0, sbom.file.find('.')) == "sbom"; });
  return sboms;
}

}  // namespace varve::job
