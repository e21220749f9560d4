#include "gha_server/cache_service.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "gha_server/exchanges.h"

namespace varve::gha_server {

namespace {

constexpr size_t kMaxJson = 1 << 20;
// GitHub's limits (docs.github.com, "Dependency caching reference", and actions/toolkit checkKey).
constexpr size_t kMaxKey = 512, kMaxKeys = 10;
constexpr std::string_view kReadDenied = "cache read denied: the token has no scope to read";
constexpr std::string_view kWriteDenied = "cache write denied: the token is read-only";
constexpr std::string_view kTwirp = "/twirp/github.actions.results.api.v1.CacheService/";
constexpr std::string_view kRest = "/_apis/artifactcache/";
constexpr std::string_view kBlobs = "/varve/cache/";

HttpReply JsonReply(int status, const Json& json) {
  return {.status = status, .headers = {{"Content-Type", "application/json; charset=utf-8"}}, .body = json.Dump()};
}

HttpReply ErrorV1(int status, std::string_view type, std::string_view message) {
  Json json;
  json.Set("$id", "1").Set("innerException", nullptr).Set("message", message);
  json.Set("typeName", fmt::format("Microsoft.Azure.DevOps.ArtifactCache.WebApi.{}, "
                                   "Microsoft.Azure.DevOps.ArtifactCache.WebApi",
                                   type));
  json.Set("typeKey", type).Set("errorCode", 0).Set("eventId", 3000);
  return JsonReply(status, json);
}

// twitchtv/twirp spec v7, "Error Codes".
HttpReply ErrorV2(int status, std::string_view code, std::string_view message) {
  Json json;
  return JsonReply(status, json.Set("code", code).Set("msg", message));
}

HttpReply WithRetryAfter(HttpReply reply, int64_t seconds) {
  reply.headers.emplace_back("Retry-After", std::to_string(seconds));
  return reply;
}

Status CheckKey(const std::string& key) {
  if (key.empty()) return Invalid("the key is empty");
  if (key.size() > kMaxKey) return Invalid("the key is longer than {} characters", kMaxKey);
  if (key.find(',') != key.npos) return Invalid("the key has a comma");
  return Ok();
}

Status CheckLookUp(const std::vector<std::string>& keys, const std::string& version) {
  if (keys.size() > kMaxKeys) return Invalid("more than {} keys", kMaxKeys);
  for (const std::string& key : keys) TRY(CheckKey(key));
  if (version.empty()) return Invalid("the version is empty");
  return Ok();
}

Status CheckName(const std::string& key, const std::string& version) { return CheckLookUp({key}, version); }

// proto3 JSON: either spelling of a field's name; 64-bit numbers as text or as numbers.
std::string Text(const Json& json, const char* snake, const char* camel) {
  return json.GetString(snake, json.GetString(camel));
}
int64_t Number(const Json& json, const char* snake, const char* camel) {
  if (auto value = ParseInt(Text(json, snake, camel))) return *value;
  return json.GetInt(snake, json.GetInt(camel, -1));
}

struct ContentRange {
  uint64_t begin = 0, size = 0;
};

// "bytes 0-199/*"
std::optional<ContentRange> ParseContentRange(std::string_view text) {
  if (!text.starts_with("bytes ")) return {};
  text.remove_prefix(6);
  size_t dash = text.find('-'), slash = text.find('/');
  if (dash == text.npos || slash == text.npos || dash > slash) return {};
  auto begin = ParseInt(text.substr(0, dash)), end = ParseInt(text.substr(dash + 1, slash - dash - 1));
  if (!begin || !end || *begin < 0 || *end < *begin) return {};
  return ContentRange{static_cast<uint64_t>(*begin), static_cast<uint64_t>(*end - *begin + 1)};
}

// Tells `on_reply` about the end of another exchange.
class Reported final : public Exchange {
 public:
  Reported(std::unique_ptr<Exchange> inner, HttpRequest request,
           const std::function<void(const HttpRequest&, int)>& report)
      : inner_(std::move(inner)), request_(std::move(request)), report_(report) {}
  void Body(std::string_view data) override { inner_->Body(data); }
  HttpReply Finish() override {
    HttpReply reply = inner_->Finish();
    report_(request_, reply.status);
    return reply;
  }

 private:
  const std::unique_ptr<Exchange> inner_;
  const HttpRequest request_;
  const std::function<void(const HttpRequest&, int)>& report_;
};

}  // namespace

std::unique_ptr<Exchange> CacheService::Accept(HttpRequest request) {
  auto exchange = Route(request);
  if (!on_reply) return exchange;
  return std::make_unique<Reported>(std::move(exchange), std::move(request), on_reply);
}

std::unique_ptr<Exchange> CacheService::Route(const HttpRequest& request) {
  const std::string& path = request.path;
  if (path.starts_with(kBlobs)) return AcceptBlob(request, path.substr(kBlobs.size()));
  if (size_t at = path.find(kTwirp); at != path.npos) return AcceptV2(request, path.substr(at + kTwirp.size()));
  if (size_t at = path.find(kRest); at != path.npos) return AcceptV1(request, path.substr(at + kRest.size()));
  return Answer({.status = 404, .body = "varve cache-server: no such page\n"});
}

std::optional<int64_t> CacheService::OverLimit(Guarded<Window>& window, int limit) {
  if (limit == 0) return {};
  int64_t now = clock_.Now().seconds();
  auto locked = window.Lock();
  if (now >= locked->begin + 60) *locked = {.begin = now};
  if (locked->count >= limit) return locked->begin + 60 - now;
  ++locked->count;
  return {};
}

std::string CacheService::BlobUrl(const HttpRequest& request, EntryId id, std::string_view permissions,
                                  std::chrono::seconds life) const {
  std::string path = std::string(kBlobs) + std::to_string(id);
  std::string base = options_.public_url.empty() ? "http://" + request.Header("host") : options_.public_url;
  return base + path + credentials_.Sign(path, permissions, life);
}

// Version 1 --------------------------------------------------------------------------------------

std::unique_ptr<Exchange> CacheService::AcceptV1(const HttpRequest& request, const std::string& resource) {
  auto grant = credentials_.Check(request.Header("authorization"));
  if (!grant) return Answer(ErrorV1(401, "UnauthorizedRequestException", grant.error().message));
  auto with_json = [&](auto handle) {
    return std::make_unique<WholeBody>(kMaxJson, [handle](const std::string& body) {
      auto json = Json::Parse(body);
      if (!json) return ErrorV1(400, "ArgumentException", json.error().message);
      return handle(*json);
    });
  };
  if (resource == "cache" && request.method == "GET") return Answer(LookUpV1(request, *grant));
  if (resource == "caches" && request.method == "GET") return Answer(ListV1(request, *grant));
  if (resource == "caches" && request.method == "POST") {
    return with_json([this, grant = *grant](const Json& body) { return ReserveV1(body, grant); });
  }
  if (auto id = ParseInt(resource.substr(std::min(resource.size(), resource.find('/') + 1)));
      id && resource.starts_with("caches/")) {
    if (request.method == "PATCH") return UploadV1(request, *id, *grant);
    if (request.method == "POST") {
      return with_json([this, id = *id, grant = *grant](const Json& body) { return CommitV1(id, body, grant); });
    }
  }
  return Answer(ErrorV1(404, "VssResourceNotFoundException", "no such resource: " + resource));
}

HttpReply CacheService::LookUpV1(const HttpRequest& request, const Grant& grant) {
  if (auto wait = OverLimit(lookups_, options_.lookups_per_minute)) {
    return WithRetryAfter(ErrorV1(429, "RequestBlockedException", "too many look-ups in this minute"), *wait);
  }
  std::vector<std::string> keys = Split(request.Query("keys"), ',');
  if (Status valid = CheckLookUp(keys, request.Query("version")); !valid) {
    return ErrorV1(400, "ArgumentException", valid.error().message);
  }
  std::vector<std::string> scopes = grant.Readable();
  if (scopes.empty()) return ErrorV1(403, "AccessDeniedException", kReadDenied);
  std::vector<KeyPattern> patterns;
  for (std::string& key : keys) patterns.push_back({.text = std::move(key)});
  auto entry = store_.Find(scopes, patterns, request.Query("version"));
  if (!entry) return {.status = 204};
  Json json;
  json.Set("cacheKey", entry->key).Set("scope", entry->scope).Set("cacheVersion", entry->version);
  json.Set("creationTime", FormatTime(entry->created));
  json.Set("archiveLocation", BlobUrl(request, entry->id, "r", options_.download_life));
  return JsonReply(200, json);
}

HttpReply CacheService::ListV1(const HttpRequest& request, const Grant& grant) {
  Json caches = Json::EmptyArray();
  for (const Entry& entry : store_.List(grant.Readable(), request.Query("key"))) {
    Json json;
    json.Set("cacheKey", entry.key).Set("scope", entry.scope).Set("cacheVersion", entry.version);
    json.Set("creationTime", FormatTime(entry.created)).Set("cacheSize", entry.size);
    caches.Append(std::move(json));
  }
  Json json;
  json.Set("totalCount", caches.as_array().size()).Set("artifactCaches", std::move(caches));
  return JsonReply(200, json);
}

HttpReply CacheService::ReserveV1(const Json& body, const Grant& grant) {
  if (auto wait = OverLimit(uploads_, options_.uploads_per_minute)) {
    return WithRetryAfter(ErrorV1(429, "RequestBlockedException", "too many uploads in this minute"), *wait);
  }
  const Scope* scope = grant.Writable();
  if (scope == nullptr) return ErrorV1(403, "AccessDeniedException", kWriteDenied);
  std::string key = body.GetString("key"), version = body.GetString("version");
  if (Status valid = CheckName(key, version); !valid) {
    return ErrorV1(400, "ArgumentException", valid.error().message);
  }
  if (static_cast<uint64_t>(std::max<int64_t>(0, body.GetInt("cacheSize"))) > store_.max_size()) {
    return ErrorV1(400, "InvalidOperationException",
                   fmt::format("Cache size of {} bytes is over the limit of {} bytes, not saving cache.",
                               body.GetInt("cacheSize"), store_.max_size()));
  }
  auto id = store_.Reserve(scope->ref, key, version);
  if (!id) return ErrorV1(500, "InternalServerException", id.error().message);
  if (!*id) {
    return ErrorV1(409, "ArtifactCacheItemAlreadyExistsException",
                   fmt::format("Cache already exists. Scope: {}, Key: {}, Version: {}", scope->ref, key, version));
  }
  return JsonReply(201, Json().Set("cacheId", **id));
}

std::unique_ptr<Exchange> CacheService::UploadV1(const HttpRequest& request, EntryId id, const Grant& grant) {
  std::shared_ptr<Upload> upload = store_.FindUpload(id);
  const Scope* scope = grant.Writable();
  if (upload == nullptr || scope == nullptr || scope->ref != upload->entry().scope) {
    return Answer(ErrorV1(404, "ArtifactCacheItemNotFoundException", fmt::format("no upload {}", id)));
  }
  auto range = ParseContentRange(request.Header("content-range"));
  if (!range) return Answer(ErrorV1(400, "ArgumentException", "no Content-Range: bytes A-B/*"));
  if (range->begin + range->size > store_.max_size()) {
    return Answer(ErrorV1(400, "InvalidOperationException", "the upload is over the limit"));
  }
  auto done = [](Status status) {
    if (!status) {
      bool ours = status.error().code != Code::kInvalid;
      return ErrorV1(ours ? 500 : 400, ours ? "InternalServerException" : "ArgumentException", status.error().message);
    }
    return HttpReply{.status = 204};
  };
  return std::make_unique<PartBody>(upload, upload->StartRange(range->begin, range->size), done);
}

HttpReply CacheService::CommitV1(EntryId id, const Json& body, const Grant& grant) {
  std::shared_ptr<Upload> upload = store_.FindUpload(id);
  const Scope* scope = grant.Writable();
  if (upload == nullptr || scope == nullptr || scope->ref != upload->entry().scope) {
    return ErrorV1(404, "ArtifactCacheItemNotFoundException", fmt::format("no upload {}", id));
  }
  Status status = store_.Commit(*upload, static_cast<uint64_t>(body.GetInt("size", -1)));
  if (status) return {.status = 204};
  bool theirs = status.error().code == Code::kInvalid || status.error().code == Code::kResource;
  return ErrorV1(theirs ? 400 : 500, "InvalidOperationException", status.error().message);
}

// Version 2 --------------------------------------------------------------------------------------

std::unique_ptr<Exchange> CacheService::AcceptV2(const HttpRequest& request, const std::string& method) {
  if (request.method != "POST" || !request.Header("content-type").starts_with("application/json")) {
    return Answer(ErrorV2(404, "bad_route", "only POST of application/json is understood"));
  }
  auto grant = credentials_.Check(request.Header("authorization"));
  if (!grant) return Answer(ErrorV2(401, "unauthenticated", grant.error().message));
  auto handle = [this, request, method, grant = *grant](const std::string& body) {
    auto json = Json::Parse(body);
    if (!json || !json->is_object()) return ErrorV2(400, "malformed", "the request is not a JSON object");
    if (method == "CreateCacheEntry") return CreateV2(request, *json, grant);
    if (method == "FinalizeCacheEntryUpload") return FinalizeV2(*json, grant);
    if (method == "GetCacheEntryDownloadURL") return LookUpV2(request, *json, grant);
    return ErrorV2(404, "bad_route", "no method " + method);
  };
  return std::make_unique<WholeBody>(kMaxJson, handle);
}

HttpReply CacheService::CreateV2(const HttpRequest& request, const Json& body, const Grant& grant) {
  if (auto wait = OverLimit(uploads_, options_.uploads_per_minute)) {
    return WithRetryAfter(ErrorV2(429, "resource_exhausted", "too many uploads in this minute"), *wait);
  }
  std::string key = body.GetString("key"), version = body.GetString("version");
  if (Status valid = CheckName(key, version); !valid) {
    return ErrorV2(400, "invalid_argument", valid.error().message);
  }
  const Scope* scope = grant.Writable();
  if (scope == nullptr) {
    // Not an error to Twirp: the client looks for this message in an answer that is not ok.
    return JsonReply(200, Json().Set("ok", false).Set("signed_upload_url", "").Set("message", kWriteDenied));
  }
  auto id = store_.Reserve(scope->ref, key, version);
  if (!id) return ErrorV2(500, "internal", id.error().message);
  if (!*id) {
    return ErrorV2(409, "already_exists", "cache entry with the same key, version, and scope already exists");
  }
  std::string url = BlobUrl(request, **id, "cw", options_.upload_life);
  return JsonReply(200, Json().Set("ok", true).Set("signed_upload_url", url).Set("message", ""));
}

HttpReply CacheService::FinalizeV2(const Json& body, const Grant& grant) {
  const Scope* scope = grant.Writable();
  if (scope == nullptr) return ErrorV2(403, "permission_denied", kWriteDenied);
  std::string key = body.GetString("key");
  std::shared_ptr<Upload> upload = store_.FindUpload(scope->ref, key, body.GetString("version"));
  if (upload == nullptr) return ErrorV2(404, "not_found", "no upload of '" + key + "' was begun");
  Status status = store_.Commit(*upload, static_cast<uint64_t>(Number(body, "size_bytes", "sizeBytes")));
  if (!status) {
    bool theirs = status.error().code == Code::kInvalid || status.error().code == Code::kResource;
    return ErrorV2(theirs ? 400 : 500, theirs ? "failed_precondition" : "internal", status.error().message);
  }
  return JsonReply(200, Json().Set("ok", true).Set("entry_id", std::to_string(upload->id())).Set("message", ""));
}

HttpReply CacheService::LookUpV2(const HttpRequest& request, const Json& body, const Grant& grant) {
  if (auto wait = OverLimit(lookups_, options_.lookups_per_minute)) {
    return WithRetryAfter(ErrorV2(429, "resource_exhausted", "too many look-ups in this minute"), *wait);
  }
  std::vector<std::string> keys = {body.GetString("key")};
  for (const char* name : {"restore_keys", "restoreKeys"}) {
    for (std::string& key : body.GetStrings(name)) keys.push_back(std::move(key));
  }
  std::string version = body.GetString("version");
  // The first key may come again among the restore keys: that asks for its prefix, too.
  std::vector<std::string> distinct = keys;
  if (keys.size() > 1 && keys[1] == keys[0]) distinct.erase(distinct.begin());
  if (Status valid = CheckLookUp(distinct, version); !valid) {
    return ErrorV2(400, "invalid_argument", valid.error().message);
  }
  std::vector<std::string> scopes = grant.Readable();
  if (scopes.empty()) return ErrorV2(403, "permission_denied", kReadDenied);
  std::vector<KeyPattern> patterns;
  for (size_t i = 0; i < keys.size(); ++i) patterns.push_back({.text = keys[i], .prefix = i != 0});
  auto entry = store_.Find(scopes, patterns, version);
  Json json;
  if (!entry) return JsonReply(200, json.Set("ok", false).Set("signed_download_url", "").Set("matched_key", ""));
  json.Set("ok", true);
  json.Set("signed_download_url", BlobUrl(request, entry->id, "r", options_.download_life));
  return JsonReply(200, json.Set("matched_key", entry->key));
}

}  // namespace varve::gha_server
