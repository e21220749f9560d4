#include "registry/client.h"

#include <algorithm>

#include "base/json.h"
#include "base/strings.h"
#include "oci/manifest.h"
#include "registry/client_impl.h"

namespace varve::registry {

namespace {

const net::Headers& ManifestHeaders() {
  static const net::Headers headers{{"Accept", fmt::format("{}, {}, {}, {}, */*", oci::kOciIndex, oci::kDockerList,
                                                           oci::kOciManifest, oci::kDockerManifest)}};
  return headers;
}

std::string What(const oci::Reference& reference) { return "image " + reference.String(); }

// "application/json; charset=utf-8" → "application/json"
std::string MediaTypeOf(const net::Response& head) {
  std::string_view type = head.Header("Content-Type");
  return std::string(TrimSpace(type.substr(0, type.find(';'))));
}

Status CheckMediaType(const oci::Reference& reference, const std::string& type) {
  if (oci::IsManifest(type) || oci::IsIndex(type)) return Ok();
  Error error = Invalid("{} has the media type \"{}\", which is no image manifest", What(reference), type);
  if (type.find("distribution.manifest.v1") != type.npos) {
    error.hint = "schema 1 images are from before 2016; pull and push it with a newer tool";
  }
  return error;
}

// What the document says it is goes before the header, which some servers leave at
// application/json or octet-stream.
std::string TypeOfDocument(const std::string& text, const std::string& header) {
  auto json = Json::Parse(text);
  if (!json) return header;
  std::string own = json->GetString("mediaType");
  if (oci::IsManifest(own) || oci::IsIndex(own)) return own;
  if (oci::IsManifest(header) || oci::IsIndex(header)) return header;
  switch (oci::KindOf(*json)) {
    case oci::DocumentKind::kManifest:
      return std::string(json->GetInt("schemaVersion") == 2 ? oci::kOciManifest : header);
    case oci::DocumentKind::kIndex:
      return std::string(oci::kOciIndex);
    case oci::DocumentKind::kUnknown:
      break;
  }
  return header;
}

}  // namespace

std::string ManifestPath(const oci::Reference& reference) {
  return "/v2/" + reference.path + "/manifests/" + reference.Identifier();
}

std::string BlobPath(const oci::Reference& repository, const Digest& digest) {
  return "/v2/" + repository.path + "/blobs/" + digest.ToString();
}

Client::Client(net::HttpClient& http, ClientOptions options)
    : impl_(std::make_unique<Impl>(http, std::move(options))) {}
Client::~Client() = default;

std::vector<Endpoint> Client::Impl::EndpointsFor(const oci::Reference& reference, const Digest* blob) {
  std::vector<Endpoint> all = options.config.Endpoints(reference.domain);
  std::vector<Endpoint> up;
  {
    auto down = down_until.Lock();
    Timestamp now = options.clock->Now();
    for (const Endpoint& endpoint : all) {
      auto found = down->find(endpoint.url);
      if (found == down->end() || found->second <= now) up.push_back(endpoint);
    }
  }
  if (up.empty()) up = std::move(all);
  if (blob != nullptr) {
    auto wrong = sent_wrong.Lock();
    std::ranges::stable_partition(up, [&](const Endpoint& e) { return !wrong->contains({e.url, *blob}); });
  }
  return up;
}

void Client::Impl::NoteFailure(const Endpoint& endpoint, const Error& error) {
  LOG_INFO("registry: {}: {}", endpoint.url, error.message);
  if (error.code != Code::kUnavailable || !endpoint.IsMirror()) return;
  (*down_until.Lock())[endpoint.url] = Timestamp{options.clock->Now().nanos + kDownTime.count()};
}

Result<Document> Client::Impl::FetchManifestFrom(const Endpoint& endpoint, const oci::Reference& reference, bool last,
                                                 std::stop_token stop) {
  Call call{.path = ManifestPath(reference), .headers = ManifestHeaders(), .scopes = {PullScope(reference.path)}};
  TRY_ASSIGN(Answer answer, transport.Ask(endpoint, call, oci::kMaxManifestSize, AttemptsAt(last), stop));
  if (answer.head.status != 200) {
    return RefusalError(endpoint, What(reference), answer.head.status, answer.body);
  }
  Document document{.text = std::move(answer.body)};
  document.descriptor.digest = Digest::Of(document.text);
  document.descriptor.size = document.text.size();
  if (reference.digest && document.descriptor.digest != *reference.digest) {
    return Corrupt("{} from {} does not match its digest: it has {}", What(reference), endpoint.host,
                   document.descriptor.digest.ToString());
  }
  document.descriptor.media_type = TypeOfDocument(document.text, MediaTypeOf(answer.head));
  TRY(CheckMediaType(reference, document.descriptor.media_type));
  return document;
}

Result<oci::Descriptor> Client::Impl::HeadManifest(const Endpoint& endpoint, const oci::Reference& reference, bool last,
                                                   std::stop_token stop) {
  Call call{.method = "HEAD",
            .path = ManifestPath(reference),
            .headers = ManifestHeaders(),
            .scopes = {PullScope(reference.path)}};
  TRY_ASSIGN(Answer answer, transport.Ask(endpoint, call, 0, AttemptsAt(last), stop));
  oci::Descriptor d;
  d.media_type = MediaTypeOf(answer.head);
  auto digest = Digest::Parse(answer.head.Header("Docker-Content-Digest"));
  auto size = ParseInt(answer.head.Header("Content-Length"));
  bool complete = answer.head.status == 200 && digest && size && *size > 0 &&
                  (!reference.digest || *digest == *reference.digest) &&
                  (oci::IsManifest(d.media_type) || oci::IsIndex(d.media_type));
  if (complete) {
    d.digest = *digest;
    d.size = static_cast<uint64_t>(*size);
    return d;
  }
  // The rest is told apart by a GET, whose refusal also has a body that says why: the header is
  // optional (distribution-spec, "Pulling manifests"), and some servers have no HEAD.
  if (net::IsRetryableStatus(answer.head.status) || answer.head.status == 404) {
    return RefusalError(endpoint, What(reference), answer.head.status, "");
  }
  TRY_ASSIGN(Document document, FetchManifestFrom(endpoint, reference, last, stop));
  return document.descriptor;
}

Result<oci::Descriptor> Client::Resolve(const oci::Reference& reference, const std::optional<oci::Platform>& platform,
                                        std::stop_token stop) {
  std::vector<Endpoint> endpoints = impl_->EndpointsFor(reference, nullptr);
  TRY_ASSIGN(oci::Descriptor found, FirstAnswer(*impl_, endpoints, What(reference), [&](const Endpoint& e, bool last) {
               return impl_->HeadManifest(e, reference, last, stop);
             }));
  if (!platform || !oci::IsIndex(found.media_type)) return found;
  oci::Reference by_digest = reference;
  by_digest.digest = found.digest;
  TRY_ASSIGN(Document document, FetchManifest(by_digest, stop));
  TRY_ASSIGN(oci::Index index, oci::ParseIndex(document.text));
  if (const oci::Descriptor* chosen = index.Find(*platform)) return *chosen;
  Error error = Invalid("{} is not made for {}", What(reference), platform->ToString());
  std::vector<std::string> names;
  for (const oci::Descriptor& d : index.manifests) {
    if (!d.platform || d.platform->os == "unknown") continue;
    std::string name = d.platform->ToString();
    if (std::ranges::find(names, name) == names.end() && names.size() < 20) names.push_back(name);
  }
  error.hint = names.empty() ? "its index lists no platform" : "it is for " + Join(names, ", ");
  return error;
}

Result<Document> Client::FetchManifest(const oci::Reference& reference, std::stop_token stop) {
  const Digest* digest = reference.digest ? &*reference.digest : nullptr;
  std::vector<Endpoint> endpoints = impl_->EndpointsFor(reference, digest);
  return FirstAnswer(*impl_, endpoints, What(reference), [&](const Endpoint& e, bool last) {
    auto document = impl_->FetchManifestFrom(e, reference, last, stop);
    if (digest && !document && document.error().code == Code::kCorrupt) {
      impl_->sent_wrong.Lock()->insert({e.url, *digest});
    }
    return document;
  });
}

}  // namespace varve::registry
