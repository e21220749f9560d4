#include "source/http.h"

#include <algorithm>

#include "archive/gunzip_writer.h"
#include "base/buildkit_version.h"
#include "base/json.h"
#include "base/percent.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "net/http_date.h"
#include "net/url.h"
#include "source/build_answers.h"

namespace varve::source {

namespace {

constexpr const char* kMemo = "http";

std::string NameOf(const graph::HttpSource& source, const HttpAnswer& answer) {
  if (!source.filename.empty()) return source.filename;
  return answer.name.empty() ? graph::HttpFileName(source.url) : answer.name;
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
  Error error = Invalid("digest mismatch for {}: {} (expected: {})", net::Redact(source.url), actual.ToString(),
                        source.checksum->ToString());
  error.hint = "the file has changed, or --checksum is wrong: find out which before changing it";
  return error;
}

// What the last answer was, if its body is still in the store.
Result<std::optional<HttpAnswer>> Recall(const std::string& asked, const HttpPlace& place) {
  TRY_ASSIGN(auto memo, place.local.GetMemo(kMemo, asked));
  if (!memo) return std::optional<HttpAnswer>();
  auto json = Json::Parse(memo->value);
  auto digest = json ? Digest::Parse(json->GetString("digest")) : Result<Digest>(Error(json.error()));
  if (!digest) return std::optional<HttpAnswer>();
  TRY_ASSIGN(auto size, place.blobs.Size(*digest));
  if (!size) return std::optional<HttpAnswer>();
  return std::optional(
      HttpAnswer{*digest, *size, json->GetString("etag"), json->GetString("modified"), json->GetString("name")});
}

Status Remember(const std::string& asked, const HttpAnswer& answer, const HttpPlace& place) {
  Json memo;
  memo.Set("digest", answer.digest.ToString()).Set("etag", answer.etag).Set("modified", answer.modified);
  memo.SetIf(!answer.name.empty(), "name", answer.name);
  return place.local.PutMemo(kMemo, asked, {memo.Dump(), place.clock.Now()});
}

// The file is the same when its validator is, weak or not.
std::string_view EtagValue(std::string_view header) {
  if (header.starts_with("W/")) header.remove_prefix(2);
  return header;
}

// Whether the server still has what it had. What keeps it from saying so is no error: it is asked for the file then.
bool StillThere(net::Request request, const HttpAnswer& known, net::HttpClient& http, std::stop_token stop) {
  request.method = "HEAD";
  request.headers.emplace_back("If-None-Match", known.etag);
  auto answer = http.Send(request, {}, std::move(stop));
  if (!answer || (answer->status != 200 && answer->status != 304)) return false;
  const std::string_view etag = answer->Header("ETag");
  if (etag.empty()) return answer->status == 304;
  return EtagValue(etag) == EtagValue(known.etag);
}

Result<HttpAnswer> Ask(const graph::HttpSource& source, net::Request request, const std::string& asked,
                       const HttpPlace& place, std::stop_token stop) {
  TRY_ASSIGN(auto known, Recall(asked, place));
  if (known && !known->etag.empty() && StillThere(request, *known, place.http, stop)) return *known;
  const bool conditional = known && known->etag.empty() && !known->modified.empty();
  if (conditional) request.headers.emplace_back("If-Modified-Since", known->modified);
  TRY_ASSIGN(auto writer, place.blobs.Create());
  std::optional<archive::GunzipWriter> unpacked;
  auto sink = [&](const net::Response& response) -> Result<Writer*> {
    if (response.status != 200) return nullptr;
    if (!EqualsIgnoreCase(response.Header("Content-Encoding"), "gzip")) return writer.get();
    return &unpacked.emplace(*writer);
  };
  auto sent = place.http.Send(request, sink, stop);
  if (!sent) {  // its message begins with the address that was asked: after redirects, another one
    Error error = std::move(sent).error();
    const std::string url = net::Redact(source.url);
    return error.message.starts_with(url) ? error : std::move(error).With(url);
  }
  if (sent->status == 304 && conditional) return *known;
  if (sent->status != 200) return Refused(source, sent->status);
  if (unpacked) {
    if (Status whole = unpacked->Finish(); !whole) return Error(std::move(whole).error()).With(net::Redact(source.url));
  }
  HttpAnswer now{.size = writer->size()};
  TRY_ASSIGN(now.digest, writer->Commit({}));
  now.etag = sent->Header("ETag");
  now.modified = sent->Header("Last-Modified");
  now.name = NameInDisposition(sent->Header("Content-Disposition"));
  TRY(Remember(asked, now, place));
  return now;
}

}  // namespace

std::string NameInDisposition(std::string_view header) {
  std::string plain, extended;
  size_t at = header.find(';');
  while (at != header.npos) {
    header = TrimSpace(header.substr(at + 1));
    const size_t equals = header.find('=');
    if (equals == header.npos) break;
    const std::string key = ToLower(TrimSpace(header.substr(0, equals)));
    header = TrimSpace(header.substr(equals + 1));
    std::string value;
    if (header.starts_with('"')) {
      size_t i = 1;
      for (; i < header.size() && header[i] != '"'; ++i) {
        if (header[i] == '\\' && i + 1 < header.size()) ++i;
        value += header[i];
      }
      header = header.substr(std::min(i + 1, header.size()));
      at = header.find(';');
    } else {
      at = header.find(';');
      value = TrimSpace(header.substr(0, at));
    }
    if (key == "filename") plain = value;
    // UTF-8'en'na%C3%AFve.txt (RFC 8187)
    if (key != "filename*" || !ToLower(value).starts_with("utf-8'")) continue;
    const size_t quote = value.find('\'', 6);
    if (quote != value.npos) extended = PercentDecode(value.substr(quote + 1));
  }
  std::string name = extended.empty() ? plain : extended;
  name.erase(0, name.rfind('/') + 1);
  const bool odd = std::ranges::any_of(name, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
  return odd || name == "." || name == ".." ? "" : name;
}

namespace {

// Servers that look for the downloads of a build look for BuildKit's name.
std::string DefaultUserAgent() { return std::string(net::UserAgent()) + " buildkit/" + kBuildkitMinor; }

}  // namespace

Result<HttpFile> FetchHttp(const graph::HttpSource& source, const std::string& authorization, const HttpPlace& place,
                           std::stop_token stop) {
  // As Go's client, and so BuildKit's: only what comes as "gzip" is unpacked, and a file.tar.gz that a server sends as
  // "x-gzip" is the file.
  net::Request request{.url = source.url, .headers = {{"Accept-Encoding", "gzip"}}};
  if (!authorization.empty()) request.headers.emplace_back("Authorization", authorization);
  if (!source.accept.empty()) request.headers.emplace_back("Accept", source.accept);
  request.headers.emplace_back("User-Agent", source.user_agent.empty() ? DefaultUserAgent() : source.user_agent);
  // What a server answers may depend on what it was told.
  std::string asked = source.url;
  if (!source.accept.empty() || !source.user_agent.empty()) asked += "\n" + source.accept + "\n" + source.user_agent;
  const std::string key = asked + "\n" + authorization;
  std::optional<HttpAnswer> answer;
  if (place.answers != nullptr) answer = place.answers->Http(key);
  if (!answer) {
    TRY_ASSIGN(answer, Ask(source, std::move(request), asked, place, std::move(stop)));
    if (place.answers != nullptr) place.answers->SetHttp(key, *answer);
  }
  if (source.checksum) TRY(CheckChecksum(source, answer->digest, place.blobs));
  return HttpFile{.digest = answer->digest,
                  .size = answer->size,
                  .name = NameOf(source, *answer),
                  .modified = net::ParseHttpDate(answer->modified)};
}

}  // namespace varve::source
