// Which manifests name another as their subject (distribution-spec, "Listing Referrers", and
// "Unavailable Referrers API" for the tag that stands in for it).
#include <algorithm>

#include "net/url.h"
#include "oci/manifest.h"
#include "registry/client_impl.h"

namespace varve::registry {

namespace {

constexpr int kMaxPages = 50;

oci::Reference FallbackTag(const oci::Reference& repository, const Digest& subject) {
  oci::Reference out = repository;
  out.tag = "sha256-" + subject.Hex();
  out.digest.reset();
  return out;
}

// Link: </v2/a/referrers/…?last=x>; rel="next"
std::string NextPage(const net::Response& head) {
  for (std::string_view link : head.AllHeaders("Link")) {
    size_t open = link.find('<'), close = link.find('>');
    if (open == link.npos || close == link.npos || close < open) continue;
    if (link.find("rel=\"next\"", close) == link.npos && link.find("rel=next", close) == link.npos) {
      continue;
    }
    return std::string(link.substr(open + 1, close - open - 1));
  }
  return {};
}

// Nothing: this host has no such API.
Result<std::optional<std::vector<oci::Descriptor>>> AskApi(Transport& transport, const Endpoint& endpoint,
                                                           const oci::Reference& repository, const Digest& subject,
                                                           const std::string& artifact_type, std::stop_token stop) {
  std::vector<oci::Descriptor> all;
  Call call{.path = "/v2/" + repository.path + "/referrers/" + subject.ToString(),
            .headers = {{"Accept", std::string(oci::kOciIndex)}},
            .scopes = {PullScope(repository.path)}};
  if (!artifact_type.empty()) call.query = "artifactType=" + net::PercentEncode(artifact_type);
  for (int page = 0; page < kMaxPages; ++page) {
    TRY_ASSIGN(Answer answer, transport.Ask(endpoint, call, oci::kMaxManifestSize, 3, stop));
    int status = answer.head.status;
    if (page == 0 && (status == 400 || status == 404 || status == 405)) {
      return std::optional<std::vector<oci::Descriptor>>();
    }
    if (status != 200) {
      return RefusalError(endpoint, "referrers of " + subject.ToString(), status, answer.body);
    }
    auto index = oci::ParseIndex(answer.body);
    // Servers that answer every path with their front page have no API either.
    if (!index && page == 0) return std::optional<std::vector<oci::Descriptor>>();
    if (!index) return std::move(index).error();
    all.insert(all.end(), index->manifests.begin(), index->manifests.end());
    std::string next = NextPage(answer.head);
    if (next.empty()) return std::optional(std::move(all));
    TRY_ASSIGN(net::Url base, net::ParseUrl(answer.head.url));
    TRY_ASSIGN(net::Url url, net::ResolveUrl(base, next));
    call.url = url.String();
    call.query.clear();
  }
  return Invalid("{} lists referrers of {} without end", endpoint.host, subject.ToString());
}

}  // namespace

Result<std::vector<oci::Descriptor>> Client::Referrers(const oci::Reference& repository, const Digest& subject,
                                                       const std::string& artifact_type, std::stop_token stop) {
  using List = std::vector<oci::Descriptor>;
  std::vector<Endpoint> endpoints = impl_->EndpointsFor(repository, nullptr);
  oci::Reference tag = FallbackTag(repository, subject);
  auto listed = FirstAnswer(*impl_, endpoints, "referrers of " + subject.ToString(),
                            [&](const Endpoint& endpoint, bool last) -> Result<List> {
                              TRY_ASSIGN(auto from_api,
                                         AskApi(impl_->transport, endpoint, repository, subject, artifact_type, stop));
                              if (from_api) return std::move(*from_api);
                              TRY_ASSIGN(Document document, impl_->FetchManifestFrom(endpoint, tag, last, stop));
                              TRY_ASSIGN(oci::Index index, oci::ParseIndex(document.text));
                              return std::move(index.manifests);
                            });
  if (!listed && listed.error().code == Code::kNotFound) return List();
  // Servers may ignore the filter, and the tag knows none.
  if (listed && !artifact_type.empty()) {
    std::erase_if(*listed, [&](const auto& d) { return d.artifact_type != artifact_type; });
  }
  return listed;
}

Status Client::Impl::AddToReferrersTag(const oci::Reference& repository, const Digest& subject,
                                       const oci::Descriptor& referrer, std::stop_token stop) {
  Endpoint endpoint = options.config.Origin(repository.domain);
  oci::Reference tag = FallbackTag(repository, subject);
  oci::Index index;
  auto current = FetchManifestFrom(endpoint, tag, true, stop);
  if (current) {
    TRY_ASSIGN(index, oci::ParseIndex(current->text));
  } else if (current.error().code != Code::kNotFound) {
    return std::move(current).error();
  }
  std::erase_if(index.manifests, [&](const auto& d) { return d.digest == referrer.digest; });
  index.manifests.push_back(referrer);
  std::string text = oci::Serialise(index);
  Call call{.method = "PUT",
            .path = ManifestPath(tag),
            .headers = {{"Content-Type", index.media_type}},
            .body = text,
            .scopes = {PushScope(repository.path)}};
  TRY_ASSIGN(Answer answer, transport.Ask(endpoint, call, 1 << 20, 3, stop));
  if (answer.head.status >= 200 && answer.head.status <= 299) return Ok();
  return RefusalError(endpoint, "push of " + tag.String(), answer.head.status, answer.body);
}

}  // namespace varve::registry
