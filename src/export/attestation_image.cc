#include "export/attestation_image.h"

#include <map>

#include "attest/provenance.h"

namespace varve::exporter {

namespace {

// The config of an attestation manifest that is no artifact: no system, the statements as layers.
std::string AttestationConfig(const std::vector<oci::Descriptor>& statements) {
  Json diff_ids = Json::EmptyArray();
  for (const oci::Descriptor& statement : statements) diff_ids.Append(statement.digest.ToString());
  return Json()
      .Set("architecture", "unknown")
      .Set("os", "unknown")
      .Set("config", Json::EmptyObject())
      .Set("rootfs", Json().Set("type", "layers").Set("diff_ids", std::move(diff_ids)))
      .Dump({.escape_html = true});
}

// Says of each file of an SPDX document, as its comment, which layer it is from: "layerID: sha256:…". A comment of the
// scanner's own stays, and files that no layer has are left as they are. Documents of other forms are, too.
Status NameLayers(const std::vector<DiffId>& layers, const std::vector<oci::Descriptor>& blobs,
                  const ExportStores& stores, Json& document) {
  if (layers.size() != blobs.size()) return Ok();
  Json* files = document.is_object() ? document.Find("files") : nullptr;
  if (files == nullptr || !files->is_array()) return Ok();
  std::map<RelPath, std::vector<Json*>> wanted;
  for (Json& file : files->as_array()) {
    if (!file.is_object() || !file.GetString("comment").empty()) continue;
    const std::string name = file.GetString("fileName");
    if (!name.empty()) wanted[RelPath(name)].push_back(&file);
  }
  for (size_t i = layers.size(); i-- > 0 && !wanted.empty();) {
    auto index = stores.layers.Index(layers[i]);
    if (!index && index.error().code == Code::kNotFound) continue;  // it was not needed here
    if (!index) return std::move(index).error();
    for (const tree::LayerEntry& entry : *index) {
      auto found = entry.whiteout || entry.implicit ? wanted.end() : wanted.find(entry.path);
      if (found == wanted.end()) continue;
      for (Json* file : found->second) file->Set("comment", "layerID: " + blobs[i].digest.ToString());
      wanted.erase(found);
    }
  }
  return Ok();
}

bool IsOwnSbom(const attest::Attestation& attestation) {
  return attestation.predicate_type == attest::kSpdx &&
         attestation.file.substr(0, attestation.file.find('.')) == attestation.core;
}

}  // namespace

Result<Image> AttestationManifest(const Image& about, const PlatformInput& of,
                                  std::vector<attest::Attestation> attestations, const Output& output,
                                  const ExportStores& stores) {
  std::vector<attest::Subject> subjects;
  for (const std::string& name : output.names) {
    TRY_ASSIGN(std::string url, attest::PackageUrl("docker", name, of.platform));
    subjects.push_back({std::move(url), about.manifest_digest});
  }
  Image out;
  for (attest::Attestation& attestation : attestations) {
    attest::AddLayers(about.manifest.layers, &attestation);
    if (IsOwnSbom(attestation))
      TRY(NameLayers(of.input.rootfs.layers, about.manifest.layers, stores, attestation.predicate));
    std::string text = attest::StatementText(attestation, subjects, false);
    TRY_ASSIGN(Digest digest, stores.blobs.Put(text));
    out.manifest.layers.push_back({.media_type = std::string(oci::kInToto),
                                   .digest = digest,
                                   .size = text.size(),
                                   .annotations = {{"in-toto.io/predicate-type", attestation.predicate_type}}});
    out.fresh.insert(digest);
  }
  bool artifact = output.oci_artifact.value_or(true);
  out.config = artifact ? "{}" : AttestationConfig(out.manifest.layers);
  TRY_ASSIGN(out.config_digest, stores.blobs.Put(out.config));
  out.manifest.config = {.media_type = std::string(artifact ? oci::kOciEmpty : oci::kOciConfig),
                         .digest = out.config_digest,
                         .size = out.config.size()};
  if (artifact) {
    out.manifest.config.data = out.config;
    out.manifest.artifact_type = oci::kAttestationManifest;
    out.manifest.subject = oci::Descriptor{
        .media_type = about.descriptor.media_type, .digest = about.manifest_digest, .size = about.descriptor.size};
  }
  out.manifest_text = oci::Serialise(out.manifest);
  TRY_ASSIGN(out.manifest_digest, stores.blobs.Put(out.manifest_text));
  out.descriptor = {.media_type = out.manifest.media_type,
                    .digest = out.manifest_digest,
                    .size = out.manifest_text.size(),
                    .annotations = {{"vnd.docker.reference.digest", about.manifest_digest.ToString()},
                                    {"vnd.docker.reference.type", "attestation-manifest"}},
                    .platform = oci::Platform{.os = "unknown", .architecture = "unknown"}};
  return out;
}

}  // namespace varve::exporter
