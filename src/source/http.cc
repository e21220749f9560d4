#include "source/http.h"

#include <time.h>

#include "base/json.h"
#include "graph/source_url.h"
#include "net/url.h"

namespace varve::source {

namespace {

constexpr const char* kMemo = "http";

// "Tue, 15 Nov 1994 12:45:26 GMT" (RFC 9110 §5.6.7).
std::optional<Timestamp> ParseHttpDate(std::string_view text) {
  tm parts{};
  std::string copy(text);
  if (strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr) return {};
  return Timestamp{timegm(&parts) * 1'000'000'000};
}

std::string NameOf(const graph::HttpSource& source) {
  return source.filename.empty() ? graph::HttpFileName(source.url) : source.filename;
}

Error Refused(const graph::HttpSource& source, int status) {
  std::string url = net::Redact(source.url);
  if (status == 404 || status == 410) return NotFound("{}: invalid response status {}", url, status);
  if (status == 429 || status >= 500) return Unavailable("{}: invalid response status {}", url, status);
  Error error = Invalid("{}: invalid response status {}", url, status);
  if (status == 401 || status == 403) error.hint = kHttpAuthHint;
  return error;
}

Status CheckChecksum(const graph::HttpSource& source, const Digest& digest, cas::BlobStore& blobs) {
  Checksum actual(digest);
  if (!source.checksum->IsSha256()) {
    TRY_ASSIGN(auto content, blobs.OpenVerified(digest));
    TRY_ASSIGN(actual, source.checksum->Of(*content));
  }
  if (actual == *source.checksum) return Ok();
  Error error = Invalid("digest mismatch for {}: {} (expected: {})", net::Redact(source.url),
                        actual.ToString(), source.checksum->ToString());
  error.hint = "the file has changed, or --checksum is wrong: find out which before changing it";
  return error;
}

struct Known {
  Digest digest;
  uint64_t size = 0;
  std::string etag, modified;
};

// What the last answer was, if its body is still in the store.
Result<std::optional<Known>> Recall(const std::string& url, cas::BlobStore& blobs,
                                    cache::LocalStore& local) {
  TRY_ASSIGN(auto memo, local.GetMemo(kMemo, url));
  if (!memo) return std::optional<Known>();
  auto json = Json::Parse(memo->value);
  auto digest = json ? Digest::Parse(json->GetString("digest")) : Result<Digest>(Error(json.error()));
  if (!digest) return std::optional<Known>();
  TRY_ASSIGN(auto size, blobs.Size(*digest));
  if (!size) return std::optional<Known>();
  return std::optional(Known{*digest, *size, json->GetString("etag"), json->GetString("modified")});
}

}  // namespace

Result<HttpFile> FetchHttp(const graph::HttpSource& source, const std::string& authorization,
                           net::HttpClient& http, cas::BlobStore& blobs, cache::LocalStore& local,
                           Clock& clock, std::stop_token stop) {
  net::Request request{.url = source.url};
  if (!authorization.empty()) request.headers.emplace_back("Authorization", authorization);
  if (!source.accept.empty()) request.headers.emplace_back("Accept", source.accept);
  if (!source.user_agent.empty()) request.headers.emplace_back("User-Agent", source.user_agent);
  // What a server answers may depend on what it was told.
  std::string asked = source.url;
  if (!source.accept.empty() || !source.user_agent.empty()) asked += "\n" + source.accept + "\n" + source.user_agent;
  TRY_ASSIGN(auto known, Recall(asked, blobs, local));
  if (known && !known->etag.empty()) {
    request.headers.emplace_back("If-None-Match", known->etag);
  } else if (known && !known->modified.empty()) {
    request.headers.emplace_back("If-Modified-Since", known->modified);
  }
  TRY_ASSIGN(auto writer, blobs.Create());
  auto sink = [&](const net::Response& response) -> Result<Writer*> {
    return response.status == 200 ? writer.get() : nullptr;
  };
  auto sent = http.Send(request, sink, stop);
  if (!sent) {  // its message begins with the address that was asked: after redirects, another one
    Error error = std::move(sent).error();
    const std::string url = net::Redact(source.url);
    return error.message.starts_with(url) ? error : std::move(error).With(url);
  }
  HttpFile file{.name = NameOf(source)};
  Known now;
  if (sent->status == 304 && known) {
    now = *known;
  } else if (sent->status == 200) {
    now.size = writer->size();
    TRY_ASSIGN(now.digest, writer->Commit({}));
    now.etag = sent->Header("ETag");
    now.modified = sent->Header("Last-Modified");
    Json memo;
    memo.Set("digest", now.digest.ToString()).Set("etag", now.etag).Set("modified", now.modified);
    TRY(local.PutMemo(kMemo, asked, {memo.Dump(), clock.Now()}));
  } else {
    return Refused(source, sent->status);
  }
  if (source.checksum) TRY(CheckChecksum(source, now.digest, blobs));
  file.digest = now.digest;
  file.size = now.size;
  file.modified = ParseHttpDate(now.modified);
  return file;
}

}  // namespace varve::source
