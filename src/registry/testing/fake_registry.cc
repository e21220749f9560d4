#include "registry/testing/fake_registry.h"

#include <regex.h>

#include "base/hex.h"
#include "base/json.h"
#include "base/strings.h"
#include "oci/image_config.h"
#include "registry/testing/hosted_rules.h"

namespace varve::registry::testing {

using net::testing::HttpServer;
using net::testing::ServerReply;
using net::testing::ServerRequest;

namespace {

ServerReply Refusal(int status, const std::string& code, const std::string& message = {}) {
  Json error = Json().Set("code", code).Set("message", message.empty() ? ToLower(code) : message);
  return {.status = status,
          .headers = {{"Content-Type", "application/json"}},
          .body = Json().Set("errors", Json().Append(error)).Dump()};
}

struct StoredManifest {
  std::string media_type;
  std::string text;
};

struct Repository {
  std::map<std::string, std::string> blobs;         // by digest
  std::map<std::string, StoredManifest> manifests;  // by digest and by tag
};

struct State {
  std::map<std::string, Repository> repositories;
  std::map<std::string, std::string> uploads;  // by id
  std::map<std::string, std::string> tokens;   // to scopes
  std::vector<Fault> faults;
  std::vector<std::string> requests;
  int next_id = 1;
};

std::string Line(const ServerRequest& request) { return request.method + " " + request.target; }

bool Found(const std::string& text, const std::string& pattern) {
  regex_t compiled;
  CHECK(regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB) == 0);
  bool found = regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
  regfree(&compiled);
  return found;
}

struct Target {
  std::string repository, kind, rest;  // "team/app", "blobs", "sha256:…"
};

std::optional<Target> ParseTarget(const std::string& path) {
  for (const char* kind : {"manifests", "blobs", "referrers"}) {
    std::string middle = fmt::format("/{}/", kind);
    size_t at = path.find(middle, 4);
    if (!path.starts_with("/v2/") || at == std::string::npos) continue;
    return Target{path.substr(4, at - 4), kind, path.substr(at + middle.size())};
  }
  return {};
}

}  // namespace

struct FakeRegistry::Impl {
  RegistryOptions options;
  mutable Guarded<State> state;
  std::unique_ptr<HttpServer> server;

  std::optional<Fault> TakeFault(const std::string& line) {
    auto locked = state.Lock();
    for (Fault& fault : locked->faults) {
      if (fault.times <= 0 || fault.cut_upload || !Found(line, fault.pattern)) continue;
      --fault.times;
      return fault;
    }
    return {};
  }

  std::optional<size_t> UploadLimit(const ServerRequest& request) {
    auto locked = state.Lock();
    for (Fault& fault : locked->faults) {
      if (fault.times <= 0 || !fault.cut_upload || !Found(Line(request), fault.pattern)) continue;
      --fault.times;
      return fault.cut_upload;
    }
    return {};
  }

  ServerReply Handle(const ServerRequest& request) {
    state.Lock()->requests.push_back(Line(request));
    if (request.path == "/token") return Token(request);
    auto fault = TakeFault(Line(request));
    if (fault && fault->status != 0) {
      ServerReply reply{.status = fault->status, .body = fault->body, .delay = fault->delay};
      if (!fault->retry_after.empty()) reply.headers = {{"Retry-After", fault->retry_after}};
      return reply;
    }
    if (fault && !fault->redirect.empty()) {
      return {.status = 307, .headers = {{"Location", fault->redirect}}};
    }
    if (auto refusal = Refuse(request)) return *refusal;
    ServerReply reply = Serve(request);
    if (fault) {
      reply.delay = fault->delay;
      reply.cut_after = fault->cut_after;
      if (fault->wrong_bytes && !reply.body.empty()) reply.body[0] ^= 1;
      if (fault->lose_answer) return {.body = "x", .cut_after = 0, .without_length = false};
    }
    return reply;
  }

  std::optional<ServerReply> Refuse(const ServerRequest& request) {
    std::string sent = request.Header("authorization");
    ServerReply reply = Refusal(401, "UNAUTHORIZED");
    if (!options.basic.empty()) {
      if (sent == "Basic " + Base64Encode(options.basic)) return {};
      reply.headers.emplace_back("WWW-Authenticate", "Basic realm=\"fake, registry\"");
      return reply;
    }
    if (options.bearer.empty()) return {};
    std::string repository = RepositoryOf(request.path);
    std::string wanted = request.method == "GET" || request.method == "HEAD" ? "pull" : "push";
    auto locked = state.Lock();
    if (sent.starts_with("Bearer ")) {
      auto token = locked->tokens.find(sent.substr(7));
      if (token != locked->tokens.end() && Found(token->second, "repository:" + repository + ":[a-z,]*" + wanted)) {
        return {};
      }
    }
    reply.headers.emplace_back("WWW-Authenticate",
                               fmt::format("Bearer realm=\"{}\",service=\"fake\",scope=\"repository:{}:{}\"",
                                           server->Url("/token"), repository, wanted == "push" ? "push,pull" : "pull"));
    return reply;
  }

  ServerReply Token(const ServerRequest& request) {
    bool good = options.bearer == "anonymous" && request.Header("authorization").empty();
    std::string scopes = request.Query("scope");
    if (request.method == "POST") {
      good = !options.refresh_token.empty() &&
             Found(request.body, "refresh_token=" + options.refresh_token + "($|&)") &&
             Found(request.body, "grant_type=refresh_token");
      scopes = ReplaceAll(ReplaceAll(ReplaceAll(request.body, "%3A", ":"), "%2F", "/"), "%2C", ",");
    } else if (!request.Header("authorization").empty()) {
      good = request.Header("authorization") == "Basic " + Base64Encode(options.bearer);
    }
    if (!good) return Refusal(401, "UNAUTHORIZED");
    auto locked = state.Lock();
    std::string token = fmt::format("token-{}", locked->next_id++);
    locked->tokens[token] = scopes;
    return {.body = Json()
                        .Set(request.method == "POST" ? "access_token" : "token", token)
                        .Set("expires_in", options.token_seconds)
                        .Dump()};
  }

  static std::string RepositoryOf(const std::string& path) {
    auto target = ParseTarget(path);
    return target ? target->repository : "";
  }

  ServerReply Serve(const ServerRequest& request) {
    if (request.path == "/v2/") return {.body = "{}"};
    auto target = ParseTarget(request.path);
    if (!target) return Refusal(404, "NAME_UNKNOWN");
    auto locked = state.Lock();
    const auto& [name, kind, rest] = *target;
    if (kind == "blobs" && rest.starts_with("uploads/")) {
      return ServeUpload(*locked, request, name, rest.substr(8));
    }
    Repository& repository = locked->repositories[name];
    if (kind == "manifests") return ServeManifest(repository, request, rest);
    if (kind == "referrers") return ServeReferrers(repository, request, rest);
    return ServeBlob(repository, request, rest);
  }

  ServerReply ServeManifest(Repository& repository, const ServerRequest& request, const std::string& name) {
    if (request.method == "PUT") {
      std::string digest = Digest::Of(request.body).ToString();
      if (name.starts_with("sha256:") && name != digest) return Refusal(400, "DIGEST_INVALID");
      if (options.hosted_rules) {
        auto has_blob = [&](const Digest& blob) { return repository.blobs.contains(blob.ToString()); };
        auto has_manifest = [&](const Digest& one) { return repository.manifests.contains(one.ToString()); };
        auto refusal = RefusedByHosts(request.Header("content-type"), request.body, has_blob, has_manifest);
        if (refusal) return Refusal(refusal->status, refusal->code, refusal->rule);
      }
      StoredManifest stored{request.Header("content-type"), request.body};
      repository.manifests[digest] = stored;
      repository.manifests[name] = stored;
      ServerReply reply{.status = 201, .headers = {{"Docker-Content-Digest", digest}}};
      auto manifest = oci::ParseManifest(request.body);
      if (options.referrers_api && manifest && manifest->subject) {
        reply.headers.emplace_back("OCI-Subject", manifest->subject->digest.ToString());
      }
      return reply;
    }
    if (request.method == "DELETE") {
      if (!options.deletes) return Refusal(405, "UNSUPPORTED");
      // With every tag that leads to it, as registries do.
      auto gone = [&](const auto& item) { return Digest::Of(item.second.text).ToString() == name; };
      return {.status = std::erase_if(repository.manifests, gone) > 0 ? 202 : 404};
    }
    if (request.method == "HEAD" && !options.head) return Refusal(405, "UNSUPPORTED");
    auto found = repository.manifests.find(name);
    if (found == repository.manifests.end()) return Refusal(404, "MANIFEST_UNKNOWN");
    ServerReply reply{.headers = {{"Content-Type", found->second.media_type}}, .body = found->second.text};
    if (options.digest_header) {
      reply.headers.emplace_back("Docker-Content-Digest", Digest::Of(reply.body).ToString());
    }
    return reply;
  }

  ServerReply ServeReferrers(Repository& repository, const ServerRequest& request, const std::string& subject) {
    if (!options.referrers_api) return Refusal(404, "NOT_FOUND");
    oci::Index index;
    for (const auto& [name, stored] : repository.manifests) {
      auto manifest = oci::ParseManifest(stored.text);
      if (!name.starts_with("sha256:") || !manifest || !manifest->subject) continue;
      if (manifest->subject->digest.ToString() != subject) continue;
      oci::Descriptor d;
      d.media_type = stored.media_type;
      d.digest = Digest::Of(stored.text);
      d.size = stored.text.size();
      d.artifact_type = manifest->artifact_type;
      index.manifests.push_back(d);
    }
    // One per page, so that every client has to turn pages.
    auto page = static_cast<size_t>(ParseInt(request.Query("page")).value_or(0));
    ServerReply reply{.headers = {{"Content-Type", std::string(oci::kOciIndex)}}};
    if (page + 1 < index.manifests.size()) {
      reply.headers.emplace_back("Link", fmt::format("<{}?page={}>; rel=\"next\"", request.path, page + 1));
    }
    if (page < index.manifests.size()) index.manifests = {index.manifests[page]};
    reply.body = oci::Serialise(index);
    return reply;
  }

  ServerReply ServeBlob(Repository& repository, const ServerRequest& request, const std::string& digest) {
    auto found = repository.blobs.find(digest);
    if (found == repository.blobs.end()) return Refusal(404, "BLOB_UNKNOWN");
    ServerReply reply{.headers = {{"Content-Type", "application/octet-stream"}}, .body = found->second};
    std::string range = request.Header("range");
    if (!options.ranges || !range.starts_with("bytes=")) return reply;
    auto start = static_cast<size_t>(*ParseInt(range.substr(6, range.find('-') - 6)));
    if (start >= reply.body.size()) return Refusal(416, "RANGE_INVALID");
    size_t size = reply.body.size(), end = size - 1;
    if (auto last = ParseInt(range.substr(range.find('-') + 1))) end = std::min(end, static_cast<size_t>(*last));
    reply.status = 206;
    reply.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", start, end, size));
    reply.body = reply.body.substr(start, end + 1 - start);
    return reply;
  }

  ServerReply ServeUpload(State& locked, const ServerRequest& request, const std::string& name, const std::string& id) {
    auto session = [&](int status, const std::string& upload) {
      size_t size = locked.uploads[upload].size();
      return ServerReply{.status = status,
                         .headers = {{"Location", fmt::format("/v2/{}/blobs/uploads/{}?state=a%3D", name, upload)},
                                     {"Range", fmt::format("0-{}", size == 0 ? 0 : size - 1)}}};
    };
    if (request.method == "POST") {
      std::string mount = request.Query("mount");
      Repository& source = locked.repositories[request.Query("from")];
      if (options.mount && !mount.empty() && source.blobs.contains(mount)) {
        locked.repositories[name].blobs[mount] = source.blobs[mount];
        return {.status = 201};
      }
      std::string upload = fmt::format("upload-{}", locked.next_id++);
      locked.uploads[upload] = "";
      ServerReply opened = session(202, upload);
      if (options.least_piece > 0) {
        opened.headers.emplace_back("OCI-Chunk-Min-Length", std::to_string(options.least_piece));
      }
      return opened;
    }
    auto found = locked.uploads.find(id);
    if (found == locked.uploads.end()) return Refusal(404, "BLOB_UPLOAD_UNKNOWN");
    if (request.method == "GET") return session(204, id);
    if (request.method == "DELETE") {
      locked.uploads.erase(found);
      return {.status = 204};
    }
    std::string range = request.Header("content-range");
    if (!range.empty() && !range.starts_with(fmt::format("{}-", found->second.size()))) {
      return Refusal(416, "RANGE_INVALID");
    }
    if (!range.empty() && request.body.size() > options.largest_piece) return Refusal(416, "RANGE_INVALID");
    found->second += request.body;
    if (request.truncated) return {};
    if (request.method == "PATCH") return session(202, id);
    std::string digest = request.Query("digest");
    std::string content = std::move(found->second);
    locked.uploads.erase(found);
    if (Digest::Of(content).ToString() != digest) return Refusal(400, "DIGEST_INVALID");
    locked.repositories[name].blobs[digest] = std::move(content);
    return {.status = 201, .headers = {{"Docker-Content-Digest", digest}}};
  }
};

FakeRegistry::FakeRegistry(RegistryOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  impl_->server = std::make_unique<HttpServer>(
      [impl = impl_.get()](const ServerRequest& request) { return impl->Handle(request); },
      [impl = impl_.get()](const ServerRequest& request) { return impl->UploadLimit(request); }, impl_->options.tls);
}

FakeRegistry::~FakeRegistry() = default;

std::string FakeRegistry::Address() const { return impl_->server->Address(); }
std::string FakeRegistry::Url(const std::string& path) const { return impl_->server->Url(path); }
void FakeRegistry::Stop() { impl_->server->Stop(); }
void FakeRegistry::Fail(Fault fault) { impl_->state.Lock()->faults.push_back(std::move(fault)); }
void FakeRegistry::RevokeTokens() { impl_->state.Lock()->tokens.clear(); }

size_t FakeRegistry::OpenUploads() const { return impl_->state.Lock()->uploads.size(); }

Digest FakeRegistry::AddBlob(const std::string& repository, const std::string& content) {
  Digest digest = Digest::Of(content);
  impl_->state.Lock()->repositories[repository].blobs[digest.ToString()] = content;
  return digest;
}

void FakeRegistry::AddManifest(const std::string& repository, const std::string& tag, const std::string& media_type,
                               const std::string& text) {
  auto locked = impl_->state.Lock();
  auto& manifests = locked->repositories[repository].manifests;
  manifests[Digest::Of(text).ToString()] = {media_type, text};
  if (!tag.empty()) manifests[tag] = {media_type, text};
}

oci::Descriptor FakeRegistry::AddImage(const std::string& repository, const std::string& tag,
                                       const std::string& platform, const std::vector<std::string>& layers) {
  auto describe = [&](std::string_view type, const std::string& content) {
    oci::Descriptor d;
    d.media_type = type;
    d.digest = AddBlob(repository, content);
    d.size = content.size();
    return d;
  };
  oci::ImageConfig config = oci::ImageConfig::Scratch(*oci::ParsePlatform(platform));
  oci::Manifest manifest;
  std::vector<DiffId> diff_ids;
  for (const std::string& layer : layers) {
    manifest.layers.push_back(describe(oci::kOciLayerGzip, layer));
    diff_ids.emplace_back(Digest::Of("tar of " + layer));
  }
  config.set_diff_ids(diff_ids);
  manifest.config = describe(oci::kOciConfig, config.Serialise());
  std::string text = oci::Serialise(manifest);
  AddManifest(repository, tag, manifest.media_type, text);
  oci::Descriptor d;
  d.media_type = manifest.media_type;
  d.digest = Digest::Of(text);
  d.size = text.size();
  d.platform = *oci::ParsePlatform(platform);
  return d;
}

std::optional<std::string> FakeRegistry::Blob(const std::string& repository, const Digest& digest) const {
  auto locked = impl_->state.Lock();
  auto& blobs = locked->repositories[repository].blobs;
  auto found = blobs.find(digest.ToString());
  return found == blobs.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string> FakeRegistry::Manifest(const std::string& repository, const std::string& name) const {
  auto locked = impl_->state.Lock();
  auto& manifests = locked->repositories[repository].manifests;
  auto found = manifests.find(name);
  return found == manifests.end() ? std::nullopt : std::optional(found->second.text);
}

std::vector<std::string> FakeRegistry::Requests() const { return impl_->state.Lock()->requests; }

int FakeRegistry::CountRequests(const std::string& pattern) const {
  int count = 0;
  for (const std::string& line : Requests()) count += Found(line, pattern) ? 1 : 0;
  return count;
}

}  // namespace varve::registry::testing
