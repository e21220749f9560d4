#include "daemon/source_meta.h"

#include "daemon/status_feed.h"
#include "exec/source_auth.h"
#include "graph/source_name.h"
#include "graph/source_url.h"
#include "job/client_stores.h"
#include "llb/definition.h"
#include "oci/reference.h"
#include "registry/attestation_chain.h"
#include "source/git.h"
#include "source/http.h"

namespace varve::daemon {

namespace {

namespace gateway = moby::buildkit::v1::frontend;

constexpr size_t kMaxSuffix = 4096;  // of a checksum request, bytes
// Of ResolveImageConfigRequest::resolver_type.
constexpr int kOfLayout = 1;

oci::Platform WantedPlatform(const pb::Platform& from) {
  return from.architecture().empty() ? oci::HostPlatform() : llb::PlatformOf(from);
}

// A body, and then the suffix.
class WithSuffix final : public Reader {
 public:
  WithSuffix(Reader& body, const std::string& suffix) : body_(body), suffix_(suffix) {}
  Result<size_t> Read(std::span<char> buffer) override {
    if (!ended_) {
      TRY_ASSIGN(size_t n, body_.Read(buffer));
      if (n > 0) return n;
      ended_ = true;
    }
    return suffix_.Read(buffer);
  }

 private:
  Reader& body_;
  StringReader suffix_;
  bool ended_ = false;
};

Status ApplyPolicy(policy::SourcePolicy* policy, const oci::Platform& platform, graph::SourceName& source) {
  if (policy == nullptr) return Ok();
  policy::Normalise(source);
  auto changed = policy->Evaluate(source, platform);
  if (!changed) return Error(std::move(changed).error()).With("could not resolve image due to policy");
  return Ok();
}

Result<source::ResolvedImage> ResolveLayout(const graph::OciLayoutSource& layout, const pb::Platform& platform,
                                            job::Workspace& workspace, Client& client, std::stop_token stop) {
  auto stores = [&](const std::string& store, const std::string& session) {
    return client.Content(store, session, stop);
  };
  return job::ResolveClientLayout(stores, layout, WantedPlatform(platform), *workspace.images, stop);
}

// What the name leads to, as clients pin images; of one whose registry does not answer that may be forgotten.
const Digest& DigestOf(const source::ResolvedImage& image) {
  return image.named_digest.empty() ? image.manifest_digest : image.named_digest;
}

class Asking {
 public:
  Asking(const gateway::ResolveSourceMetaRequest& request, job::Workspace& workspace, Client& client,
         std::stop_token stop, gateway::ResolveSourceMetaResponse& response)
      : request_(request), workspace_(workspace), client_(client), stop_(std::move(stop)), response_(response),
        secrets_({}, [this](const std::string& id) { return client_.Secret(id, stop_); }) {}

  Status Ask(const graph::Op& op) {
    if (const auto* image = std::get_if<graph::ImageSource>(&op)) return AskImage(*image);
    if (const auto* layout = std::get_if<graph::OciLayoutSource>(&op)) return AskLayout(*layout);
    if (const auto* git = std::get_if<graph::GitSource>(&op)) return AskGit(*git);
    if (const auto* http = std::get_if<graph::HttpSource>(&op)) return AskHttp(*http);
    if (std::holds_alternative<graph::LocalSource>(op)) return Ok();
    return Invalid("{}: only images, git repositories and downloads can be asked about",
                   request_.source().identifier());
  }

 private:
  Status AskImage(const graph::ImageSource& source) {
    const bool attested = request_.image().attestation_chain() || request_.image().resolve_attestations_size() > 0;
    if (attested && request_.image().no_config()) return AskAttestations(source, std::nullopt);
    const bool pull = request_.resolve_mode() == "pull" || source.resolve_mode == graph::ResolveMode::kPull;
    TRY_ASSIGN(auto image, workspace_.images->Resolve(source.reference, WantedPlatform(request_.platform()),
                                                      pull ? graph::ResolveMode::kPull : source.resolve_mode, stop_));
    TRY(Tell(image));
    return attested ? AskAttestations(source, DigestOf(image)) : Ok();
  }

  // `image`: what was told of the image already, which the attestations must be of.
  Status AskAttestations(const graph::ImageSource& source, const std::optional<Digest>& image) {
    TRY_ASSIGN(oci::Reference reference, oci::ParseReference(source.reference));
    if (image) reference.digest = *image;
    registry::Client& client = workspace_.registries->client(reference.domain, false);
    const auto& types = request_.image().resolve_attestations();
    TRY_ASSIGN(auto chain, registry::ResolveAttestationChain(client, reference, WantedPlatform(request_.platform()),
                                                             {types.begin(), types.end()}, stop_));
    if (!chain && image) return Ok();
    if (!chain) {  // a bare manifest
      TRY_ASSIGN(auto descriptor, client.Resolve(reference, std::nullopt, stop_));
      response_.mutable_image()->set_digest(descriptor.digest.ToString());
      return Ok();
    }
    response_.mutable_image()->set_digest(chain->root.ToString());
    TellChain(*chain, *response_.mutable_image()->mutable_attestation_chain());
    return Ok();
  }

  static void TellChain(const registry::AttestationChain& chain, gateway::AttestationChain& to) {
    to.set_root(chain.root.ToString());
    to.set_image_manifest(chain.image_manifest.ToString());
    if (!chain.attestation_manifest.empty()) to.set_attestation_manifest(chain.attestation_manifest.ToString());
    if (!chain.signature_manifest.empty()) to.add_signature_manifests(chain.signature_manifest.ToString());
    for (const registry::Document& document : chain.documents) {
      gateway::Blob& blob = (*to.mutable_blobs())[document.descriptor.digest.ToString()];
      blob.set_data(document.text);
      auto& descriptor = *blob.mutable_blob_descriptor();
      descriptor.set_media_type(document.descriptor.media_type);
      descriptor.set_digest(document.descriptor.digest.ToString());
      descriptor.set_size(static_cast<int64_t>(document.descriptor.size));
      for (const auto& [name, value] : document.descriptor.annotations)
        (*descriptor.mutable_annotations())[name] = value;
    }
  }

  Status AskLayout(const graph::OciLayoutSource& source) {
    TRY_ASSIGN(auto image, ResolveLayout(source, request_.platform(), workspace_, client_, stop_));
    return Tell(image);
  }

  Status Tell(const source::ResolvedImage& image) {
    response_.mutable_image()->set_digest(DigestOf(image).ToString());
    if (!request_.image().no_config()) response_.mutable_image()->set_config(image.config.Serialise());
    return Ok();
  }

  Status AskGit(const graph::GitSource& source) {
    TRY_ASSIGN(source::GitAccess access, exec::FindGitAccess(source, secrets_));
    std::unique_ptr<ForwardedAgent> agent;
    if (source.remote.starts_with("ssh://") || source.remote.find('@') != std::string::npos) {
      TRY_ASSIGN(const std::string scratch, workspace_.scratch.Path());
      auto started = client_.StartAgent(source.ssh_id, scratch, stop_);
      if (started) agent = std::move(*started);
      if (agent) access.ssh_auth_sock = agent->socket();
    }
    sys::TempDir imported;
    std::string bundle;
    if (source.bundle) {
      TRY_ASSIGN(const std::string scratch, workspace_.scratch.Path());
      TRY_ASSIGN(imported, sys::TempDir::Create(scratch, "bundle-"));
      bundle = imported.path() + "/bundle";
      auto stores = job::BlobsOf([this](const std::string& store, const std::string& session) {
        return client_.Content(store, session, stop_);
      });
      TRY(workspace_.images->FetchBlobTo(bundle, *source.bundle, stores, nullptr, stop_));
    }
    TRY_ASSIGN(auto ref, source::ResolveGitRef(source, access, stop_, workspace_.answers.get(), bundle));
    // The checksum is what the ref points at: of an annotated tag, the tag.
    const bool annotated = !ref.tag_object.empty();
    response_.mutable_git()->set_checksum(annotated ? ref.tag_object : ref.commit);
    if (annotated) response_.mutable_git()->set_commit_checksum(ref.commit);
    response_.mutable_git()->set_ref(ref.name);
    if (!request_.git().return_object()) return Ok();
    source::GitRequest wanted{
        .source = source, .ref = ref, .cache_directory = workspace_.root, .access = access, .bundle = bundle};
    TRY_ASSIGN(auto objects, source::FetchGitObjects(wanted, {}, stop_));
    response_.mutable_git()->set_commit_object(std::move(objects.commit));
    response_.mutable_git()->set_tag_object(std::move(objects.tag));
    return Ok();
  }

  Status AskHttp(const graph::HttpSource& source) {
    TRY_ASSIGN(std::string authorization, exec::FindHttpAuthorization(source, secrets_));
    TRY_ASSIGN(auto file, source::FetchHttp(source, authorization, job::HttpPlaceOf(workspace_), stop_));
    response_.mutable_http()->set_checksum(file.digest.ToString());
    response_.mutable_http()->set_filename(file.name);
    if (file.modified) SetTime(*file.modified, response_.mutable_http()->mutable_last_modified());
    if (!request_.http().has_checksum_request()) return Ok();
    const gateway::ChecksumRequest& wanted = request_.http().checksum_request();
    TRY_ASSIGN(*response_.mutable_http()->mutable_checksum_response()->mutable_digest(),
               ChecksumOf(file.digest, wanted));
    response_.mutable_http()->mutable_checksum_response()->set_suffix(wanted.suffix());
    return Ok();
  }

  // Of the body and what the client puts behind it: what a detached signature is about.
  Result<std::string> ChecksumOf(const Digest& digest, const gateway::ChecksumRequest& wanted) {
    if (wanted.suffix().size() > kMaxSuffix) {
      return Invalid("http checksum request suffix exceeds max size {}", kMaxSuffix);
    }
    if (!gateway::ChecksumRequest::ChecksumAlgo_IsValid(wanted.algo())) {
      return Invalid("unsupported checksum algorithm {}", static_cast<int>(wanted.algo()));
    }
    static constexpr std::pair<std::string_view, size_t> kAlgorithms[] = {
        {"sha256", 64}, {"sha384", 96}, {"sha512", 128}};
    const auto& [name, digits] = kAlgorithms[wanted.algo()];
    // A Checksum computes what it is to be compared with; here it is asked for that alone.
    TRY_ASSIGN(Checksum any, Checksum::Parse(fmt::format("{}:{}", name, std::string(digits, '0'))));
    TRY_ASSIGN(auto body, workspace_.blobs->OpenVerified(digest));
    WithSuffix content(*body, wanted.suffix());
    TRY_ASSIGN(Checksum checksum, any.Of(content));
    return checksum.ToString();
  }

  const gateway::ResolveSourceMetaRequest& request_;
  job::Workspace& workspace_;
  Client& client_;
  const std::stop_token stop_;
  gateway::ResolveSourceMetaResponse& response_;
  const exec::Secrets secrets_;
};

}  // namespace

Status ResolveSourceMeta(const gateway::ResolveSourceMetaRequest& request, policy::SourcePolicy* policy,
                         job::Workspace& workspace, Client& client, std::stop_token stop,
                         gateway::ResolveSourceMetaResponse& response) {
  graph::SourceName source = llb::SourceNameOf(request.source());
  TRY(ApplyPolicy(policy, WantedPlatform(request.platform()), source));
  TRY_ASSIGN(graph::Op op, graph::ParseSource(source));
  TRY(Asking(request, workspace, client, std::move(stop), response).Ask(op));
  response.mutable_source()->set_identifier(source.identifier);
  response.mutable_source()->mutable_attrs()->insert(source.attributes.begin(), source.attributes.end());
  return Ok();
}

Status ResolveImageConfig(const gateway::ResolveImageConfigRequest& request, policy::SourcePolicy* policy,
                          job::Workspace& workspace, Client& client, std::stop_token stop,
                          gateway::ResolveImageConfigResponse& response) {
  TRY_ASSIGN(auto parsed, oci::ParseReference(request.ref()));
  const oci::Reference reference = parsed.WithDefaultTag();
  graph::Op op = graph::ImageSource{.reference = reference.String()};
  if (request.resolver_type() == kOfLayout) {
    op = graph::OciLayoutSource{.path = request.store_id(),
                                .reference = reference.tag,
                                .digest = reference.digest,
                                .session = request.session_id()};
  }
  graph::SourceName source = graph::NameOfSource(op);
  TRY(ApplyPolicy(policy, WantedPlatform(request.platform()), source));
  if (policy != nullptr) {
    TRY_ASSIGN(op, graph::ParseSource(source));
  }
  auto resolve = [&]() -> Result<source::ResolvedImage> {
    if (const auto* layout = std::get_if<graph::OciLayoutSource>(&op)) {
      return ResolveLayout(*layout, request.platform(), workspace, client, stop);
    }
    const auto* image = std::get_if<graph::ImageSource>(&op);
    if (image == nullptr)
      return Invalid("the source policy has made {} \"{}\", which is no image", request.ref(), source.identifier);
    const auto mode = request.resolve_mode() == "pull" ? graph::ResolveMode::kPull : image->resolve_mode;
    return workspace.images->Resolve(image->reference, WantedPlatform(request.platform()), mode, stop);
  };
  TRY_ASSIGN(auto image, resolve());
  response.set_digest(DigestOf(image).ToString());
  response.set_config(image.config.Serialise());
  response.set_ref(request.resolver_type() == kOfLayout ? reference.String() : image.reference);
  return Ok();
}

}  // namespace varve::daemon
