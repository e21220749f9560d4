// GitHub's cache service over an EntryStore: version 1 (REST), version 2 (Twirp, JSON), and the blob
// addresses that both hand out, in the dialect of Azure's block blobs that the official client speaks.
//
//   GET   …/_apis/artifactcache/cache?keys=a,b&version=V    look up; every key also as a prefix
//   GET   …/_apis/artifactcache/caches?key=PREFIX           list
//   POST  …/_apis/artifactcache/caches                      reserve
//   PATCH …/_apis/artifactcache/caches/ID                   upload a range (Content-Range)
//   POST  …/_apis/artifactcache/caches/ID                   commit
//   POST  …/twirp/github.actions.results.api.v1.CacheService/{CreateCacheEntry,
//            FinalizeCacheEntryUpload,GetCacheEntryDownloadURL}
//   PUT   /varve/cache/ID?sig=…                             Put Blob, Put Block, Put Block List
//   GET, HEAD /varve/cache/ID?sig=…                         with Range
//
// Thread-safe: each request is answered on its connection's thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/guarded.h"
#include "base/json.h"
#include "gha_server/credentials.h"
#include "gha_server/entry_store.h"
#include "gha_server/http_daemon.h"

namespace varve::gha_server {

struct ServiceOptions {
  std::string public_url;                  // of blob addresses; empty: http:// and the request's Host
  std::chrono::seconds upload_life{3600};  // of a signed address
  std::chrono::seconds download_life{600};
  int uploads_per_minute = 0;  // reservations beyond get 429; 0: no limit
  int lookups_per_minute = 0;
};

class CacheService {
 public:
  CacheService(EntryStore& store, Credentials& credentials, Clock& clock, ServiceOptions options)
      : store_(store), credentials_(credentials), clock_(clock), options_(std::move(options)) {}

  std::unique_ptr<Exchange> Accept(HttpRequest request);
  // Told about every request that was answered; from any thread.
  std::function<void(const HttpRequest&, int status)> on_reply = {};

 private:
  struct Window {
    int64_t begin = 0;  // seconds
    int count = 0;
  };
  // Seconds to wait, when the limit is reached.
  std::optional<int64_t> OverLimit(Guarded<Window>& window, int limit);

  std::unique_ptr<Exchange> Route(const HttpRequest& request);
  // cache_service.cc
  std::unique_ptr<Exchange> AcceptV1(const HttpRequest& request, const std::string& resource);
  HttpReply LookUpV1(const HttpRequest& request, const Grant& grant);
  HttpReply ListV1(const HttpRequest& request, const Grant& grant);
  HttpReply ReserveV1(const Json& body, const Grant& grant);
  HttpReply CommitV1(EntryId id, const Json& body, const Grant& grant);
  std::unique_ptr<Exchange> UploadV1(const HttpRequest& request, EntryId id, const Grant& grant);
  std::unique_ptr<Exchange> AcceptV2(const HttpRequest& request, const std::string& method);
  HttpReply CreateV2(const HttpRequest& request, const Json& body, const Grant& grant);
  HttpReply FinalizeV2(const Json& body, const Grant& grant);
  HttpReply LookUpV2(const HttpRequest& request, const Json& body, const Grant& grant);
  // blob_service.cc
  std::unique_ptr<Exchange> AcceptBlob(const HttpRequest& request, const std::string& name);
  std::unique_ptr<Exchange> PutBlob(const HttpRequest& request, std::shared_ptr<Upload> upload);
  HttpReply GetBlob(const HttpRequest& request, EntryId id);

  std::string BlobUrl(const HttpRequest& request, EntryId id, std::string_view permissions,
                      std::chrono::seconds life) const;

  EntryStore& store_;
  Credentials& credentials_;
  Clock& clock_;
  const ServiceOptions options_;
  Guarded<Window> uploads_, lookups_;
};

}  // namespace varve::gha_server
