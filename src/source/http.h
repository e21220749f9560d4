// Files named by http(s) URLs: ADD https://….
//
// The body is kept in the blob store and asked for again with the validators that the server gave
// (ETag, Last-Modified): an unchanged file costs one request without a body.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "graph/graph.h"
#include "net/http_client.h"

namespace varve::source {

struct HttpFile {
  Digest digest;                       // in the blob store
  uint64_t size = 0;
  std::string name;                    // as the URL's path ends, or the source's filename
  std::optional<Timestamp> modified;   // Last-Modified
};

// What to do about a server that refuses.
inline constexpr const char* kHttpAuthHint =
    "give credentials as --secret id=HTTP_AUTH_TOKEN_<host> or HTTP_AUTH_HEADER_<host>";

// kNotFound for 404 and 410, kInvalid for other refusals and for a checksum that does not fit,
// kUnavailable when the server does not answer. `authorization`: value of the header, may be empty.
Result<HttpFile> FetchHttp(const graph::HttpSource& source, const std::string& authorization,
                           net::HttpClient& http, cas::BlobStore& blobs, cache::LocalStore& local,
                           Clock& clock, std::stop_token stop);

}  // namespace varve::source
