#include "attest/provenance.h"

#include <algorithm>
#include <span>

#include "base/go_quote.h"
#include "base/hex.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "oci/reference.h"

namespace varve::attest {

namespace {

constexpr char kBuildTypeV1[] = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
constexpr char kBuildTypeV02[] = "https://mobyproject.org/buildkit@v1";

struct Material {
  std::string uri, algorithm, hex;
  std::string source;  // as steps name it: what the document's order is by
  bool operator==(const Material&) const = default;
};

struct Credential {
  std::string id;
  bool optional = false;
  bool operator==(const Credential&) const = default;
};

// What the steps that a result needs have used.
struct Used {
  std::vector<Material> images, blobs, git, http;  // in this order in the document
  std::vector<Credential> secrets, ssh;
  std::vector<std::string> locals;
  bool network = false;

  bool Complete() const { return locals.empty(); }
  std::vector<Material> Materials() const {
    std::vector<Material> out = images;
    out.insert(out.end(), blobs.begin(), blobs.end());
    out.insert(out.end(), git.begin(), git.end());
    out.insert(out.end(), http.begin(), http.end());
    return out;
  }
};

void AddOnce(auto& list, auto item) {
  if (std::ranges::find(list, item) == list.end()) list.push_back(std::move(item));
}

Material Pinned(std::string uri, const std::string& pin, std::string source) {
  size_t colon = pin.find(':');
  if (colon == std::string::npos) return {std::move(uri), "", "", std::move(source)};
  return {std::move(uri), pin.substr(0, colon), pin.substr(colon + 1), std::move(source)};
}

void AddExec(const graph::Exec& exec, Used& used) {
  if (exec.network != graph::NetworkMode::kNone) used.network = true;
  for (const graph::Mount& mount : exec.mounts) {
    if (mount.type == graph::MountType::kSecret) AddOnce(used.secrets, Credential{mount.secret_id, !mount.required});
    if (mount.type == graph::MountType::kSsh) AddOnce(used.ssh, Credential{mount.secret_id, !mount.required});
  }
}

const char* TypeOf(const graph::BlobSource& blob) { return blob.layout ? "oci" : "docker"; }

Status AddGraph(const UsedGraph& from, Used& used) {
  if (!from.root) return Ok();
  std::vector<bool> needed(from.root->step + 1, false);
  needed[from.root->step] = true;
  for (size_t i = needed.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (const graph::Ref& input : from.graph.steps[i].inputs) needed[input.step] = true;
  }
  for (graph::StepIndex i = 0; i < needed.size(); ++i) {
    if (!needed[i]) continue;
    const graph::Step& step = from.graph.steps[i];
    auto pin = from.pins.find(i);
    std::string pinned = pin == from.pins.end() ? "" : pin->second;
    if (const auto* image = std::get_if<graph::ImageSource>(&step.op)) {
      TRY_ASSIGN(auto reference, oci::ParseReference(image->reference));
      if (reference.digest) pinned = reference.digest->ToString();
      if (image->checksum) pinned = image->checksum->ToString();
      // Beside a tag, the digest is what the tag turned out to be.
      if (reference.digest && !reference.tag.empty()) reference.digest.reset();
      TRY_ASSIGN(std::string uri, PackageUrl("docker", reference.String(), step.platform));
      AddOnce(used.images, Pinned(uri, pinned, image->reference));
    } else if (const auto* layout = std::get_if<graph::OciLayoutSource>(&step.op)) {
      if (layout->digest) pinned = layout->digest->ToString();
      oci::Reference reference;
      reference.path = "library/layout";
      if (auto named = oci::ParseReference(layout->name)) reference = *named;
      reference.tag = layout->digest ? "" : layout->reference;
      reference.digest = layout->digest;
      TRY_ASSIGN(std::string uri, PackageUrl("oci", reference.String(), step.platform));
      AddOnce(used.images, Pinned(uri, pinned, layout->name));
    } else if (const auto* blob = std::get_if<graph::BlobSource>(&step.op)) {
      const std::string reference = blob->repository + "@" + blob->digest.ToString();
      TRY_ASSIGN(std::string uri, PackageUrl(TypeOf(*blob), reference, {}, {{"ref_type", "blob"}}));
      AddOnce(used.blobs, Pinned(std::move(uri), blob->digest.ToString(), reference));
    } else if (const auto* git = std::get_if<graph::GitSource>(&step.op)) {
      const std::string source = git->remote + (git->ref.empty() ? "" : "#" + git->ref);
      const std::string uri = graph::WithoutCredentials(source);
      AddOnce(used.git, Pinned(uri, pinned, source));
      if (const auto& bundle = git->bundle) {
        TRY_ASSIGN(std::string place,
                   PackageUrl(TypeOf(*bundle), bundle->repository, {}, {{"ref_type", "bundle"}, {"vcs_url", uri}}));
        AddOnce(used.git, Pinned(std::move(place), bundle->digest.ToString(), source));
      }
    } else if (const auto* http = std::get_if<graph::HttpSource>(&step.op)) {
      AddOnce(used.http, Pinned(graph::WithoutCredentials(http->url), pinned, http->url));
    } else if (const auto* local = std::get_if<graph::LocalSource>(&step.op)) {
      AddOnce(used.locals, local->name);
    } else if (const auto* exec = std::get_if<graph::Exec>(&step.op)) {
      AddExec(*exec, used);
    }
  }
  return Ok();
}

Result<Used> FindUsed(const BuildFacts& facts) {
  Used used;
  TRY(AddGraph({facts.graph, facts.root, facts.pins}, used));
  for (const UsedGraph& other : facts.besides) TRY(AddGraph(other, used));
  for (const std::string& name : facts.locals) AddOnce(used.locals, name);
  std::ranges::sort(used.locals);
  for (auto* list : {&used.images, &used.blobs, &used.git, &used.http})
    std::ranges::stable_sort(*list, {}, &Material::source);
  return used;
}

Json DigestSet(const std::string& algorithm, const std::string& hex) { return Json().Set(algorithm, hex); }

Json MaterialJson(const Material& material) {
  Json json;
  json.Set("uri", material.uri);
  if (!material.hex.empty()) json.Set("digest", DigestSet(material.algorithm, material.hex));
  return json;
}

Json Credentials(const std::vector<Credential>& list) {
  Json json = Json::EmptyArray();
  for (const Credential& credential : list) {
    json.Append(Json().Set("id", credential.id).SetIf(credential.optional, "optional", true));
  }
  return json;
}

// The parts of the document, the same in both versions.
struct Parts {
  Json config_source = Json::EmptyObject();  // without its path, which has two names
  std::string path;
  Json request = Json::EmptyObject();
  bool request_complete = true;
  Json environment = Json::EmptyObject();  // sorted by name
  Json materials = Json::EmptyArray();
  Json build_config;                     // mode=max
  Json metadata = Json::EmptyObject();   // BuildKit's own
  std::map<std::string, size_t> layers;  // mode=max
  bool materials_complete = false;
  bool hermetic = false;
};

Parts ReadParts(const ProvenanceRequest& asked, const BuildFacts& facts, const Used& used) {
  Parts parts;
  if (facts.environment.is_object()) parts.environment = facts.environment;
  parts.environment.SetIf(!facts.frontend_version.empty(), "dockerfileVersion", facts.frontend_version);
  parts.config_source = ConfigSource(facts.asked);
  parts.path = ConfigPath(facts.asked);
  Json vcs = Json::EmptyObject();
  for (const auto& [name, value] : facts.asked.args) {
    if (!name.starts_with("vcs:")) continue;
    vcs.SetIf(!value.empty(), name.substr(4), name == "vcs:source" ? graph::WithoutCredentials(value) : value);
  }
  const std::string& frontend = facts.asked.frontend;
  if (frontend.empty()) parts.request_complete = false;
  Json args = ToldArgs(facts.asked, asked.max, parts.request_complete);
  parts.request.SetIf(!frontend.empty(), "frontend", frontend).SetIf(!args.as_object().empty(), "args", args);
  if (asked.max) {
    parts.request.SetIf(!used.secrets.empty(), "secrets", Credentials(used.secrets));
    parts.request.SetIf(!used.ssh.empty(), "ssh", Credentials(used.ssh));
  } else if (!used.secrets.empty() || !used.ssh.empty()) {
    parts.request_complete = false;
  }
  Json locals = Json::EmptyArray();
  for (const std::string& name : used.locals) locals.Append(Json().Set("name", name));
  parts.request.SetIf(!used.locals.empty(), "locals", locals);
  const Json inputs = ToldInputs(facts.asked, asked.max, parts.request_complete);
  parts.request.SetIf(!inputs.is_null(), "inputs", inputs);
  if (facts.client) {
    Invocation client = *facts.client;
    // The same URL was the same commit.
    const bool same = client.args.contains("context") && facts.asked.args.contains("context") &&
                      client.args.at("context") == facts.asked.args.at("context");
    if (same) client.context_digest = facts.asked.context_digest;
    const Json told = ToldClient(client, facts.asked, asked.max, parts.request_complete);
    parts.request.SetIf(!told.is_null(), "root", told);
  }
  for (const Material& material : used.Materials()) parts.materials.Append(MaterialJson(material));
  parts.materials_complete = used.Complete();
  parts.hermetic = used.Complete() && !used.network;
  parts.metadata.SetIf(!vcs.as_object().empty(), "vcs", vcs);
  return parts;
}

Json Position(uint32_t line) { return Json().Set("line", line); }

// The outputs whose layers the result begins with: those that an image has to show for them.
std::map<std::string, size_t> LayersBelow(const BuildFacts& facts, const std::map<graph::StepIndex, size_t>& numbers) {
  auto name_of = [&](const graph::Ref& ref) { return fmt::format("step{}:{}", numbers.at(ref.step), ref.output); };
  if (!facts.layers_of) return {{name_of(*facts.root), 0}};
  const std::vector<DiffId> all = facts.layers_of(*facts.root);
  std::map<std::string, size_t> layers;
  auto add = [&](const graph::Ref& ref) {
    const std::vector<DiffId> own = facts.layers_of(ref);
    const bool begins =
        !own.empty() && own.size() <= all.size() && std::ranges::equal(own, std::span(all).first(own.size()));
    if (begins) layers[name_of(ref)] = own.size();
  };
  add(*facts.root);
  for (const auto& [step, number] : numbers) {
    for (const graph::Ref& input : facts.graph.steps[step].inputs) add(input);
  }
  return layers;
}

void AddMax(const BuildFacts& facts, Parts& parts) {
  BuildConfig config = MakeBuildConfig(facts.graph, facts.root);
  auto id_of = [](size_t number) { return fmt::format("step{}", number); };
  std::map<std::string, std::string> names;
  Json locations = Json::EmptyObject();
  std::map<std::string, Json> places;
  for (const auto& [step, number] : config.numbers) {
    Digest digest = facts.digest_of ? facts.digest_of(step) : Digest();
    if (!digest.empty()) names[digest.ToString()] = id_of(number);
    const graph::Location& at = facts.graph.steps[step].location;
    if (at.first_line == 0) continue;
    Json range = Json().Set("start", Position(at.first_line)).Set("end", Position(at.last_line));
    places[id_of(number)] =
        Json().Set("locations", Json().Append(Json().Set("ranges", Json().Append(std::move(range)))));
  }
  Json mapping = Json::EmptyObject();
  for (const auto& [digest, id] : names) mapping.Set(digest, id);
  for (auto& [id, place] : places) locations.Set(id, std::move(place));
  parts.build_config = Json().Set("llbDefinition", std::move(config.definition));
  parts.build_config.SetIf(!names.empty(), "digestMapping", std::move(mapping));
  Json infos = Json::EmptyArray();
  for (const SourceFile& file : facts.sources) {
    infos.Append(Json()
                     .Set("filename", file.name)
                     .Set("language", file.language)
                     .Set("data", Base64Encode(file.text))
                     .SetIf(!file.read_by.is_null(), "llbDefinition", file.read_by));
  }
  if (!facts.sources.empty()) {
    Json source = Json().SetIf(!locations.as_object().empty(), "locations", locations);
    parts.metadata.Set("source", source.Set("infos", std::move(infos)));
  }
  if (!facts.root) return;
  parts.layers = LayersBelow(facts, config.numbers);
}

Json VersionOne(const ProvenanceRequest& asked, const BuildFacts& facts, Parts parts) {
  Json internal = std::move(parts.environment);
  Json source = std::move(parts.config_source);
  source.SetIf(!parts.path.empty(), "path", parts.path);
  if (!parts.build_config.is_null()) internal.Set("buildConfig", std::move(parts.build_config));
  internal.Set("builderPlatform", oci::HostPlatform().ToString());
  Json definition;
  definition.Set("buildType", kBuildTypeV1);
  bool materials = !parts.materials.as_array().empty();
  definition.SetIf(materials, "resolvedDependencies", parts.materials);
  definition.Set("externalParameters",
                 Json().Set("configSource", std::move(source)).Set("request", std::move(parts.request)));
  definition.Set("internalParameters", std::move(internal));
  Json metadata;
  metadata.Set("invocationId", facts.invocation_id)
      .Set("startedOn", FormatTime(facts.started))
      .Set("finishedOn", FormatTime(facts.finished))
      .Set("buildkit_metadata", std::move(parts.metadata))
      .SetIf(parts.hermetic, "buildkit_hermetic", true)
      .Set("buildkit_completeness",
           Json().Set("request", parts.request_complete).Set("resolvedDependencies", parts.materials_complete))
      .SetIf(asked.reproducible, "buildkit_reproducible", true);
  Json run;
  run.Set("builder", Json().Set("id", asked.builder_id)).Set("metadata", std::move(metadata));
  return Json().Set("buildDefinition", std::move(definition)).Set("runDetails", std::move(run));
}

Json VersionZeroTwo(const ProvenanceRequest& asked, const BuildFacts& facts, Parts parts) {
  Json environment = std::move(parts.environment);
  environment.Set("platform", oci::HostPlatform().ToString());
  Json source = std::move(parts.config_source);
  source.SetIf(!parts.path.empty(), "entryPoint", parts.path);
  Json metadata;
  metadata.Set("buildInvocationID", facts.invocation_id)
      .Set("buildStartedOn", FormatTime(facts.started))
      .Set("buildFinishedOn", FormatTime(facts.finished))
      .Set("completeness", Json()
                               .Set("parameters", parts.request_complete)
                               .Set("environment", true)
                               .Set("materials", parts.materials_complete))
      .Set("reproducible", asked.reproducible)
      .Set("https://mobyproject.org/buildkit@v1#metadata", std::move(parts.metadata))
      .SetIf(parts.hermetic, "https://mobyproject.org/buildkit@v1#hermetic", true);
  Json out;
  out.Set("builder", Json().Set("id", asked.builder_id)).Set("buildType", kBuildTypeV02);
  bool materials = !parts.materials.as_array().empty();
  out.SetIf(materials, "materials", std::move(parts.materials));
  out.Set("invocation", Json()
                            .Set("configSource", std::move(source))
                            .Set("parameters", std::move(parts.request))
                            .Set("environment", std::move(environment)));
  if (!parts.build_config.is_null()) out.Set("buildConfig", std::move(parts.build_config));
  return out.Set("metadata", std::move(metadata));
}

}  // namespace

void AddLayers(const std::vector<oci::Descriptor>& descriptors, Attestation* provenance) {
  if (provenance->layers.empty() || descriptors.empty()) return;
  Json* metadata = provenance->predicate.Find("metadata");
  Json* own = metadata != nullptr ? metadata->Find("https://mobyproject.org/buildkit@v1#metadata") : nullptr;
  if (Json* run = provenance->predicate.Find("runDetails")) own = run->Find("metadata")->Find("buildkit_metadata");
  CHECK(own != nullptr);
  size_t most = 0;
  for (const auto& [name, count] : provenance->layers) most = std::max(most, count);
  Json layers = Json::EmptyObject();
  for (const auto& [name, count] : provenance->layers) {
    // Packed otherwise than it was built, only the whole of it is known.
    const size_t here = count == most ? descriptors.size() : count;
    if (most != descriptors.size() && count != most) continue;
    Json chain = Json::EmptyArray();
    for (size_t i = 0; i < here; ++i) chain.Append(oci::ToJson(descriptors[i]));
    layers.Set(name, Json().Append(std::move(chain)));
  }
  own->Set("layers", std::move(layers));
}

Result<Attestation> MakeProvenance(const ProvenanceRequest& asked, const BuildFacts& facts) {
  TRY_ASSIGN(Used used, FindUsed(facts));
  Parts parts = ReadParts(asked, facts, used);
  if (asked.max) AddMax(facts, parts);
  Attestation out{.predicate_type = std::string(asked.v1 ? kProvenanceV1 : kProvenanceV02),
                  .predicate = {},
                  .file = asked.filename,
                  .inline_only = asked.inline_only,
                  .layers = parts.layers};
  out.predicate =
      asked.v1 ? VersionOne(asked, facts, std::move(parts)) : VersionZeroTwo(asked, facts, std::move(parts));
  return out;
}

}  // namespace varve::attest
