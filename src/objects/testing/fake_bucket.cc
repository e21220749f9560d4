#include "objects/testing/fake_bucket.h"

#include <fmt/core.h>
#include <time.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/percent.h"
#include "base/strings.h"
#include "objects/xml.h"

namespace varve::objects::testing {

using net::testing::ServerReply;
using net::testing::ServerRequest;

namespace {

std::string HttpDate(int64_t seconds) {
  time_t time = seconds;
  tm parts{};
  gmtime_r(&time, &parts);
  char text[64];
  return {text, strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

std::string FormEscape(const std::string& key) { return ReplaceAll(EscapePath(key), "%20", "+"); }

}  // namespace

ServerReply S3Refusal(int status, const std::string& code, const std::string& message, const std::string& more) {
  return {.status = status,
          .headers = {{"Content-Type", "application/xml"}},
          .body = fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code>"
                              "<Message>{}</Message>{}</Error>",
                              code, message, more)};
}

FakeBucket::FakeBucket(BucketOptions options)
    : options_(std::move(options)), server_([this](const ServerRequest& r) { return Answer(r); }) {
  auto state = state_.Lock();
  state->keys = options_.keys;
  state->clock_ahead = options_.clock_ahead;
}

void FakeBucket::SetFaults(Instead instead, Spoil spoil) {
  auto state = state_.Lock();
  state->requests = 0;
  state->log.clear();
  state->instead = std::move(instead);
  state->spoil = std::move(spoil);
}

std::map<std::string, std::string> FakeBucket::Objects() {
  std::map<std::string, std::string> objects;
  for (const auto& [key, object] : state_.Lock()->objects) objects[key] = object.bytes;
  return objects;
}

void FakeBucket::PutObject(const std::string& key, const std::string& bytes) {
  auto state = state_.Lock();
  state->objects[key] = MakeObject(*state, bytes);
}

FakeBucket::Object FakeBucket::MakeObject(State& state, std::string bytes) const {
  return {.bytes = std::move(bytes),
          .etag = fmt::format("\"v{}\"", ++state.versions),
          .modified = SystemClock().Now().seconds() + state.clock_ahead};
}

ServerReply FakeBucket::Answer(const ServerRequest& request) {
  Instead instead;
  Spoil spoil;
  int n;
  int64_t clock_ahead;
  {
    auto state = state_.Lock();
    clock_ahead = state->clock_ahead;
    n = state->requests++;
    state->log.push_back(request.method + " " + request.target);
    instead = state->instead;
    spoil = state->spoil;
  }
  std::optional<ServerReply> other = instead ? instead(n, request) : std::nullopt;
  ServerReply reply = other ? std::move(*other) : CarryOut(*state_.Lock(), request);
  if (spoil) spoil(n, request, reply);
  reply.headers.emplace_back("Date", HttpDate(SystemClock().Now().seconds() + clock_ahead));
  return reply;
}

// What S3 checks before anything else.
std::optional<ServerReply> FakeBucket::Refusal(const State& state, const ServerRequest& request) const {
  if (!state.keys) return {};
  std::string date = request.Header("x-amz-date");
  tm parts{};
  if (strptime(date.c_str(), "%Y%m%dT%H%M%SZ", &parts) == nullptr) {
    return S3Refusal(403, "AccessDenied", "not signed");
  }
  Timestamp signed_at{int64_t{timegm(&parts)} * 1'000'000'000};
  std::string authorization = request.Header("authorization");
  if (std::abs(signed_at.seconds() - SystemClock().Now().seconds() - state.clock_ahead) > 900) {
    return S3Refusal(403, "RequestTimeTooSkewed");
  }
  if (authorization.find("/" + options_.region + "/s3/") == std::string::npos) {
    return S3Refusal(400, "AuthorizationHeaderMalformed", "wrong region", "<Region>" + options_.region + "</Region>");
  }
  if (authorization.find("Credential=" + state.keys->access_key_id + "/") == std::string::npos) {
    return S3Refusal(403, "InvalidAccessKeyId");
  }
  if (request.Header("x-amz-security-token") != state.keys->session_token) {
    return S3Refusal(400, "ExpiredToken");
  }
  if (Digest::Of(request.body).Hex() != request.Header("x-amz-content-sha256")) {
    return S3Refusal(400, "XAmzContentSHA256Mismatch");
  }
  AwsRequest unsigned_request{.method = request.method,
                              .authority = request.Header("host"),
                              .path = PercentDecode(request.path),
                              .payload_sha256 = request.Header("x-amz-content-sha256")};
  for (const auto& [name, value] : request.query) unsigned_request.query.emplace_back(name, value);
  size_t names = authorization.find("SignedHeaders=") + 14;
  for (const std::string& name : Split(authorization.substr(names, authorization.find(',', names) - names), ';')) {
    if (name == "host" || name.starts_with("x-amz-date") || name == "x-amz-content-sha256" ||
        name == "x-amz-security-token") {
      continue;
    }
    unsigned_request.headers.emplace_back(name, request.Header(name));
  }
  for (const auto& [name, value] : SignAwsRequest(unsigned_request, *state.keys, options_.region, "s3", signed_at)) {
    if (name == "Authorization" && value != authorization) {
      return S3Refusal(403, "SignatureDoesNotMatch");
    }
  }
  return {};
}

ServerReply FakeBucket::CarryOut(State& state, const ServerRequest& request) {
  if (auto refusal = Refusal(state, request)) return *std::move(refusal);
  if (options_.bazel_remote) return CarryOutAsBazelRemote(state, request);
  std::string path = PercentDecode(request.path);
  std::string root = "/" + options_.bucket;
  if (path != root && !path.starts_with(root + "/")) return S3Refusal(404, "NoSuchBucket");
  std::string key = path.size() > root.size() ? path.substr(root.size() + 1) : "";
  if (request.method == "PUT") return Put(state, key, request);
  if (request.method == "POST") return Post(state, key, request);
  if (request.method == "DELETE") {
    if (request.query.contains("uploadId")) {
      if (state.uploads.erase(request.Query("uploadId")) == 0) return S3Refusal(404, "NoSuchUpload");
    } else {
      state.objects.erase(key);
    }
    return {.status = 204};
  }
  if (key.empty()) return List(state, request);
  return Read(state, key, request);
}

ServerReply FakeBucket::Read(const State& state, const std::string& key, const ServerRequest& request) const {
  auto found = state.objects.find(key);
  if (found == state.objects.end()) return S3Refusal(404, "NoSuchKey");
  const Object& object = found->second;
  if (std::string match = request.Header("if-match"); !match.empty() && match != object.etag) {
    return S3Refusal(412, "PreconditionFailed");
  }
  ServerReply reply{.headers = {{"ETag", object.etag}, {"Last-Modified", HttpDate(object.modified)}},
                    .body = object.bytes};
  std::string range = request.Header("range");
  if (options_.ranges && range.starts_with("bytes=")) {
    size_t dash = range.find('-');
    size_t first = static_cast<size_t>(ParseInt(range.substr(6, dash - 6)).value_or(0));
    size_t last =
        static_cast<size_t>(ParseInt(range.substr(dash + 1)).value_or(static_cast<int64_t>(object.bytes.size()) - 1));
    if (first >= object.bytes.size()) return S3Refusal(416, "InvalidRange");
    last = std::min(last, object.bytes.size() - 1);
    reply.status = 206;
    reply.body = object.bytes.substr(first, last - first + 1);
    reply.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", first, last, object.bytes.size()));
  }
  if (request.method == "HEAD") {
    reply.headers.emplace_back("Content-Length", std::to_string(reply.body.size()));
    reply.body.clear();
  }
  return reply;
}

ServerReply FakeBucket::List(const State& state, const ServerRequest& request) const {
  if (request.Query("list-type") != "2") return S3Refusal(400, "InvalidArgument");
  std::string prefix = request.Query("prefix"), after = request.Query("continuation-token");
  std::string entries, last;
  size_t listed = 0;
  bool truncated = false;
  for (auto it = state.objects.lower_bound(prefix); it != state.objects.end() && it->first.starts_with(prefix); ++it) {
    if (!after.empty() && it->first <= after) continue;
    if (listed++ == options_.page_size) {
      truncated = true;
      break;
    }
    last = it->first;
    entries += fmt::format(
        "<Contents><Key>{}</Key><LastModified>{}</LastModified>"
        "<ETag>{}</ETag><Size>{}</Size></Contents>",
        EscapeXml(FormEscape(it->first)), FormatTime({it->second.modified * 1'000'000'000}), EscapeXml(it->second.etag),
        it->second.bytes.size());
  }
  return {.body =
              fmt::format("<?xml version=\"1.0\"?><ListBucketResult "
                          "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><EncodingType>url</EncodingType>"
                          "<IsTruncated>{}</IsTruncated>{}{}</ListBucketResult>",
                          truncated, entries,
                          truncated ? "<NextContinuationToken>" + EscapeXml(last) + "</NextContinuationToken>" : "")};
}

ServerReply FakeBucket::Put(State& state, const std::string& key, const ServerRequest& request) {
  Object added = MakeObject(state, request.body);
  if (request.query.contains("partNumber")) {
    auto upload = state.uploads.find(request.Query("uploadId"));
    if (upload == state.uploads.end()) return S3Refusal(404, "NoSuchUpload");
    std::string part_etag = added.etag;
    upload->second[static_cast<int>(*ParseInt(request.Query("partNumber")))] = std::move(added);
    return {.headers = {{"ETag", part_etag}}};
  }
  if (options_.conditions) {
    auto there = state.objects.find(key);
    std::string match = request.Header("if-match");
    if (request.Header("if-none-match") == "*" && there != state.objects.end()) {
      return S3Refusal(412, "PreconditionFailed");
    }
    if (!match.empty() && there == state.objects.end()) return S3Refusal(404, "NoSuchKey");
    if (!match.empty() && there->second.etag != match) return S3Refusal(412, "PreconditionFailed");
  }
  if (std::string source = PercentDecode(request.Header("x-amz-copy-source")); !source.empty()) {
    if (request.Header("x-amz-metadata-directive") != "REPLACE") {
      return S3Refusal(400, "InvalidRequest", "copied onto itself without a change");
    }
    auto there = state.objects.find(source.substr(options_.bucket.size() + 2));
    if (there == state.objects.end()) return S3Refusal(404, "NoSuchKey");
    added.bytes = there->second.bytes;
    state.objects[key] = std::move(added);
    return {.body = "<CopyObjectResult></CopyObjectResult>"};
  }
  std::string etag = added.etag;
  state.objects[key] = std::move(added);
  return {.headers = {{"ETag", etag}}};
}

ServerReply FakeBucket::Post(State& state, const std::string& key, const ServerRequest& request) {
  if (request.query.contains("uploads")) {
    std::string id = fmt::format("upload/{}", ++state.versions);
    state.uploads[id];
    return {.body = "<InitiateMultipartUploadResult><UploadId>" + id + "</UploadId></InitiateMultipartUploadResult>"};
  }
  auto xml = ParseXml(request.body);
  if (!xml) return S3Refusal(400, "MalformedXML");
  if (request.query.contains("delete")) {
    if (request.Header("content-md5").empty()) return S3Refusal(400, "InvalidRequest");
    for (const XmlElement& object : xml->children) {
      if (object.name == "Object") state.objects.erase(std::string(object.Text("Key")));
    }
    return {.body = "<DeleteResult></DeleteResult>"};
  }
  auto upload = state.uploads.find(request.Query("uploadId"));
  if (upload == state.uploads.end()) return S3Refusal(404, "NoSuchUpload");
  std::string bytes;
  for (const XmlElement& part : xml->children) {
    auto found = upload->second.find(static_cast<int>(ParseInt(part.Text("PartNumber")).value_or(0)));
    if (found == upload->second.end() || found->second.etag != part.Text("ETag")) {
      return S3Refusal(400, "InvalidPart");
    }
    bytes += found->second.bytes;
  }
  state.objects[key] = MakeObject(state, std::move(bytes));
  state.uploads.erase(upload);
  return {.body = "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"};
}

}  // namespace varve::objects::testing
