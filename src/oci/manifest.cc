#include "oci/manifest.h"

namespace varve::oci {

namespace {

Result<Json> ParseDocument(std::string_view text, DocumentKind wanted, std::string_view what) {
  if (text.size() > kMaxManifestSize) return Invalid("{} is larger than 4 MiB", what);
  TRY_ASSIGN(Json json, Json::Parse(text));
  if (json.GetInt("schemaVersion", 0) != 2) {
    Error error = Invalid("{} has schema version {}, not 2", what, json.GetInt("schemaVersion", 0));
    error.hint = "schema 1 images are from before 2016; pull and push the image with a newer tool";
    return error;
  }
  if (KindOf(json) != wanted) return Invalid("document is not an image {}", what);
  return json;
}

Result<std::vector<Descriptor>> DescriptorsOf(const Json& json, std::string_view member) {
  std::vector<Descriptor> out;
  for (const Json& item : json.GetArray(member)) {
    TRY_ASSIGN(Descriptor descriptor, DescriptorFromJson(item));
    out.push_back(std::move(descriptor));
  }
  return out;
}

Json ListOf(const std::vector<Descriptor>& descriptors) {
  Json json = Json::EmptyArray();
  for (const Descriptor& d : descriptors) json.Append(ToJson(d));
  return json;
}

constexpr Json::Format kIndented{.indent = 2, .escape_html = true};

}  // namespace

DocumentKind KindOf(const Json& document) {
  std::string type = document.GetString("mediaType");
  if (IsManifest(type)) return DocumentKind::kManifest;
  if (IsIndex(type)) return DocumentKind::kIndex;
  if (!type.empty()) return DocumentKind::kUnknown;
  bool manifests = document.Find("manifests") != nullptr;
  bool config = document.Find("config") != nullptr;
  // Both: a confused-deputy document (image-spec GHSA-mc8v-mgrf-8f4m); neither: something else.
  if (manifests == config) return DocumentKind::kUnknown;
  return manifests ? DocumentKind::kIndex : DocumentKind::kManifest;
}

Result<Manifest> ParseManifest(std::string_view text) {
  TRY_ASSIGN(Json json, ParseDocument(text, DocumentKind::kManifest, "manifest"));
  Manifest manifest;
  manifest.media_type = json.GetString("mediaType", kOciManifest);
  manifest.artifact_type = json.GetString("artifactType");
  const Json* config = json.Find("config");
  if (config == nullptr) return Invalid("manifest has no config");
  TRY_ASSIGN(manifest.config, DescriptorFromJson(*config));
  const Json* layers = json.Find("layers");
  if (layers != nullptr && !layers->is_array() && !layers->is_null()) {
    return Invalid("manifest's layers are not a list");
  }
  TRY_ASSIGN(manifest.layers, DescriptorsOf(json, "layers"));
  if (const Json* subject = json.Find("subject"); subject && subject->is_object()) {
    TRY_ASSIGN(manifest.subject, DescriptorFromJson(*subject));
  }
  manifest.annotations = AnnotationsFromJson(json.Find("annotations"));
  return manifest;
}

Result<Index> ParseIndex(std::string_view text) {
  TRY_ASSIGN(Json json, ParseDocument(text, DocumentKind::kIndex, "index"));
  Index index;
  index.media_type = json.GetString("mediaType", kOciIndex);
  index.artifact_type = json.GetString("artifactType");
  TRY_ASSIGN(index.manifests, DescriptorsOf(json, "manifests"));
  index.annotations = AnnotationsFromJson(json.Find("annotations"));
  return index;
}

const Descriptor* Index::Find(const Platform& platform) const {
  const Descriptor* best = nullptr;
  const Descriptor* unspecific = nullptr;
  for (const Descriptor& d : manifests) {
    if (!IsManifest(d.media_type) || d.Annotation("vnd.docker.reference.type") != nullptr) continue;
    if (!d.platform) {
      if (unspecific == nullptr) unspecific = &d;
      continue;
    }
    if (!Matches(platform, *d.platform)) continue;
    if (best == nullptr || FitsBetter(platform, *d.platform, *best->platform)) best = &d;
  }
  return best != nullptr ? best : unspecific;
}

Json ToJson(const Manifest& manifest) {
  Json json;
  json.Set("schemaVersion", 2).Set("mediaType", manifest.media_type);
  json.SetIf(!manifest.artifact_type.empty(), "artifactType", manifest.artifact_type);
  json.Set("config", ToJson(manifest.config)).Set("layers", ListOf(manifest.layers));
  if (manifest.subject) json.Set("subject", ToJson(*manifest.subject));
  json.SetIf(!manifest.annotations.empty(), "annotations", ToJson(manifest.annotations));
  return json;
}

Json ToJson(const Index& index) {
  Json json;
  json.Set("schemaVersion", 2).Set("mediaType", index.media_type);
  json.SetIf(!index.artifact_type.empty(), "artifactType", index.artifact_type);
  json.Set("manifests", ListOf(index.manifests));
  json.SetIf(!index.annotations.empty(), "annotations", ToJson(index.annotations));
  return json;
}

std::string Serialise(const Manifest& manifest) { return ToJson(manifest).Dump(kIndented); }
std::string Serialise(const Index& index) { return ToJson(index).Dump(kIndented); }

}  // namespace varve::oci
