#include "registry/attestation_chain.h"

#include <algorithm>

#include "oci/manifest.h"

namespace varve::registry {

namespace {

constexpr uint64_t kMaxBlob = 32 << 20;  // a statement or a signature
constexpr std::string_view kBundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
constexpr std::string_view kCosign = "application/vnd.dev.cosign.artifact.sig.v1+json";

class Resolving {
 public:
  Resolving(Client& client, const oci::Reference& reference, std::stop_token stop)
      : client_(client), repository_(reference), stop_(std::move(stop)) {
    repository_.tag.clear();
    repository_.digest.reset();
  }

  AttestationChain chain;

  Status AddManifest(oci::Descriptor descriptor, oci::Manifest& manifest) {
    oci::Reference reference = repository_;
    reference.digest = descriptor.digest;
    TRY_ASSIGN(Document document, client_.FetchManifest(reference, stop_));
    TRY_ASSIGN(manifest, oci::ParseManifest(document.text));
    chain.documents.push_back({std::move(descriptor), std::move(document.text)});
    return Ok();
  }

  Status AddBlob(const oci::Descriptor& descriptor) {
    TRY_ASSIGN(std::string text, client_.FetchSmallBlob(repository_, descriptor, kMaxBlob, stop_));
    chain.documents.push_back({descriptor, std::move(text)});
    return Ok();
  }

  Status AddSignature() {
    TRY_ASSIGN(auto signers, client_.Referrers(repository_, chain.attestation_manifest, "", stop_));
    std::erase_if(signers,
                  [](const auto& one) { return one.artifact_type != kBundle && one.artifact_type != kCosign; });
    if (signers.empty()) return Ok();
    auto bundle = std::ranges::find(signers, kBundle, &oci::Descriptor::artifact_type);
    const oci::Descriptor signer = bundle == signers.end() ? signers.front() : *bundle;
    chain.signature_manifest = signer.digest;
    oci::Manifest manifest;
    TRY(AddManifest(signer, manifest));
    for (const oci::Descriptor& layer : manifest.layers) TRY(AddBlob(layer));
    return Ok();
  }

 private:
  Client& client_;
  oci::Reference repository_;
  const std::stop_token stop_;
};

}  // namespace

Result<std::optional<AttestationChain>> ResolveAttestationChain(Client& client, const oci::Reference& reference,
                                                                const oci::Platform& platform,
                                                                const std::vector<std::string>& predicate_types,
                                                                std::stop_token stop) {
  TRY_ASSIGN(Document root, client.FetchManifest(reference, stop));
  TRY_ASSIGN(Json json, Json::Parse(root.text));
  if (oci::KindOf(json) != oci::DocumentKind::kIndex || root.descriptor.media_type != oci::kOciIndex) {
    return std::optional<AttestationChain>();
  }
  TRY_ASSIGN(oci::Index index, oci::ParseIndex(root.text));
  const oci::Descriptor* image = index.Find(platform);
  if (image == nullptr) return NotFound("{}: no manifest for platform {}", reference.Familiar(), platform.ToString());
  Resolving resolving(client, reference, std::move(stop));
  AttestationChain& chain = resolving.chain;
  chain.root = root.descriptor.digest;
  chain.image_manifest = image->digest;
  chain.documents.push_back(std::move(root));
  const std::string subject = image->digest.ToString();
  auto attests = [&](const oci::Descriptor& one) {
    const std::string* type = one.Annotation("vnd.docker.reference.type");
    const std::string* of = one.Annotation("vnd.docker.reference.digest");
    return type != nullptr && *type == "attestation-manifest" && of != nullptr && *of == subject;
  };
  auto attestation = std::ranges::find_if(index.manifests, attests);
  if (attestation == index.manifests.end()) return std::optional(std::move(chain));
  chain.attestation_manifest = attestation->digest;
  oci::Manifest manifest;
  TRY(resolving.AddManifest(*attestation, manifest));
  TRY(resolving.AddSignature());
  for (const oci::Descriptor& layer : manifest.layers) {
    const std::string* type = layer.Annotation("in-toto.io/predicate-type");
    if (type != nullptr && std::ranges::find(predicate_types, *type) != predicate_types.end())
      TRY(resolving.AddBlob(layer));
  }
  return std::optional(std::move(chain));
}

}  // namespace varve::registry
