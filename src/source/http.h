// Files named by http(s) URLs: ADD https://….
//
// The body is kept in the blob store and asked for again with the validators that the server gave
// (ETag, Last-Modified): an unchanged file costs one request without a body. With an ETag that is a HEAD first, as in
// BuildKit: there are servers that ignore If-None-Match. Bodies are asked for as gzip too, and kept unpacked.
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

class BuildAnswers;

// What a server said of a file.
struct HttpAnswer {
  Digest digest;  // of the body, in the blob store
  uint64_t size = 0;
  std::string etag, modified;  // as in the headers
  std::string name;            // as Content-Disposition has it; empty: it says none
};

struct HttpFile {
  Digest digest;  // in the blob store
  uint64_t size = 0;
  std::string name;                   // the source's filename, else the server's, else as the URL's path ends
  std::optional<Timestamp> modified;  // Last-Modified
};

// What to do about a server that refuses.
inline constexpr const char* kHttpAuthHint =
    "give credentials as --secret id=HTTP_AUTH_TOKEN_<host> or HTTP_AUTH_HEADER_<host>";

// kNotFound for 404 and 410, kInvalid for other refusals and for a checksum that does not fit,
// kUnavailable when the server does not answer. `authorization`: value of the header, may be empty.
struct HttpPlace {
  net::HttpClient& http;
  cas::BlobStore& blobs;
  cache::LocalStore& local;
  Clock& clock;
  BuildAnswers* answers = nullptr;  // of the build; null: it asks anew
};
Result<HttpFile> FetchHttp(const graph::HttpSource& source, const std::string& authorization, const HttpPlace& place,
                           std::stop_token stop);

// The name that a Content-Disposition header has for the file (RFC 6266), its last part; empty where it has none.
std::string NameInDisposition(std::string_view header);

}  // namespace varve::source
