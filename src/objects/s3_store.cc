#include "objects/s3_store.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cctype>

#include "base/hex.h"
#include "base/percent.h"
#include "base/strings.h"
#include "net/url.h"
#include "objects/probe_conditions.h"
#include "objects/s3_answer.h"
#include "objects/xml.h"

namespace varve::objects {

namespace {

constexpr uint64_t kMaxListing = 16 << 20;
constexpr size_t kMaxDeletes = 1000;  // of one DeleteObjects
// What AWS allows is 15 minutes; a refused HEAD says nothing but 403, so that the Date header
// decides.
constexpr int64_t kMaxSkew = 300;

std::string ContentMd5(std::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), out, &size, EVP_md5(), nullptr) != 1) return "";
  return Base64Encode({reinterpret_cast<const char*>(out), size});
}

// A host name that a bucket's name can be put before.
bool TakesSubdomain(const net::Url& url) {
  return !net::IsLoopback(url.host) && url.host.find(':') == std::string::npos &&
         url.host.find_first_not_of("0123456789.") != std::string::npos;
}

bool IsHostLabel(const std::string& bucket) {
  return std::all_of(bucket.begin(), bucket.end(),
                     [](unsigned char c) { return std::islower(c) || std::isdigit(c) || c == '-'; });
}

}  // namespace

Result<std::unique_ptr<S3Store>> S3Store::Open(S3Options options, net::HttpClient& http, Environment environment,
                                               Clock& clock, net::Sleeper& sleeper) {
  // "/" and the like would make another URL of it.
  if (options.bucket.empty() || options.bucket.find_first_of("/?#%@: ") != std::string::npos) {
    return Invalid("\"{}\" is not the name of a bucket", options.bucket);
  }
  if (options.region.empty() || options.region.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                                 "0123456789-_") != std::string::npos) {
    return Invalid("\"{}\" is not the name of a region", options.region);
  }
  if (options.part_size == 0 || options.upload_parallelism == 0) {
    return Invalid("parts of an upload cannot be empty, nor their number at a time");
  }
  net::Url endpoint;
  if (!options.endpoint_url.empty()) {
    auto url = net::ParseUrl(options.endpoint_url);
    if (!url) return std::move(url).error().With("endpoint_url");
    if (!url->query.empty() || !url->user_info.empty()) {
      return Invalid("endpoint_url has a query or a user name: {}", net::Redact(options.endpoint_url));
    }
    endpoint = std::move(*url);
    while (endpoint.path.ends_with('/')) endpoint.path.pop_back();
  }
  return std::unique_ptr<S3Store>(
      new S3Store(std::move(options), std::move(endpoint), http, std::move(environment), clock, sleeper));
}

S3Store::S3Store(S3Options options, net::Url endpoint, net::HttpClient& http, Environment environment, Clock& clock,
                 net::Sleeper& sleeper)
    : options_(std::move(options)), endpoint_(std::move(endpoint)),
      path_style_((!endpoint_.host.empty() && (options_.use_path_style || !TakesSubdomain(endpoint_))) ||
                  !IsHostLabel(options_.bucket)),
      clock_(clock),
      credentials_(http, clock, std::move(environment), options_.keys, options_.profile, options_.region),
      transport_(http, *this, sleeper, clock, options_.retry, "s3"), region_(options_.region) {}

std::string S3Store::Name() const {
  return "s3://" + options_.bucket + (options_.prefix.empty() ? "" : "/" + options_.prefix);
}

Result<net::Request> S3Store::Prepare(const Call& call, std::stop_token stop) {
  const std::string region = *region_.Lock();
  net::Url url = endpoint_;
  if (url.host.empty()) {
    url.scheme = "https";
    url.host = fmt::format("s3.{}.amazonaws.com{}", region, region.starts_with("cn-") ? ".cn" : "");
  }
  if (!path_style_) url.host = options_.bucket + "." + url.host;
  const std::string path =
      url.path + (path_style_ ? "/" + options_.bucket : "") + (call.key.empty() && path_style_ ? "" : "/" + call.key);
  url.path = EscapePath(path);
  url.query = CanonicalQuery(call.query);

  TRY_ASSIGN(AwsCredentials credentials, credentials_.Get(stop));
  AwsRequest to_sign{.method = call.method,
                     .authority = url.Authority(),
                     .path = path,
                     .query = call.query,
                     .headers = call.headers,
                     .payload_sha256 = Digest::Of(call.body).Hex()};
  Timestamp now = clock_.Now();
  now.nanos += skew_seconds_ * 1'000'000'000;
  return net::Request{.method = call.method,
                      .url = url.String(),
                      .headers = SignAwsRequest(to_sign, credentials.keys, region, "s3", now),
                      .body = call.body,
                      .follow_redirects = false,  // the signature is for one host
                      .timeouts = options_.timeouts,
                      .tls = options_.tls};
}

Endpoint::Verdict S3Store::Judge(const Call& call, const net::Request& sent, const Answer& answer) {
  const int status = answer.head.status;
  if (answer.ok()) {
    // CompleteMultipartUpload sends 200 before it knows.
    S3Error error = ReadS3Error(answer.body);
    return error.code == "InternalError" || error.code == "SlowDown" ? Verdict::kAgain : Verdict::kFinal;
  }
  const S3Error error = ReadS3Error(answer.body);
  const bool bodyless = call.method == "HEAD";

  std::string region(answer.head.Header("x-amz-bucket-region"));
  if (region.empty()) region = error.region;
  if ((status == 301 || status == 400 || status == 403) && !region.empty()) {
    auto current = region_.Lock();
    if (*current != region) {
      *current = region;
      return Verdict::kCorrected;
    }
  }

  if (error.code == "RequestTimeTooSkewed" || (status == 403 && (bodyless || error.code.empty()))) {
    if (auto skew = ClockSkew(answer.head, clock_.Now())) {
      const bool matters = error.code == "RequestTimeTooSkewed" || std::abs(*skew - skew_seconds_.load()) > kMaxSkew;
      if (matters && skew_seconds_.exchange(*skew) != *skew) return Verdict::kCorrected;
    }
  }

  const bool unsaid = bodyless && status == 400;
  if (error.code == "ExpiredToken" || error.code == "InvalidToken" || error.code == "TokenRefreshRequired" || unsaid) {
    AwsKeys used = SignedWith(sent);
    if (!used.session_token.empty() && options_.keys.session_token.empty()) {
      credentials_.Refused(used);
      return Verdict::kCorrected;
    }
  }
  if (error.code == "RequestTimeout" || error.code == "ConditionalRequestConflict" ||
      error.code == "OperationAborted" || net::IsRetryableStatus(status)) {
    return Verdict::kAgain;
  }
  return Verdict::kFinal;
}

Error S3Store::Failure(const Call& call, const Answer& answer) {
  const S3Error error = ReadS3Error(answer.body);
  std::string what = fmt::format("{} s3://{}/{}", call.method, options_.bucket, call.key);
  return S3Failure(what, answer.head.status, error);
}

Result<Answer> S3Store::AskOk(const Call& call, std::stop_token stop) {
  TRY_ASSIGN(Answer answer, transport_.Ask(call, kMaxListing, stop));
  if (!answer.ok() || !ReadS3Error(answer.body).code.empty()) return Failure(call, answer);
  return answer;
}

Result<std::optional<ObjectInfo>> S3Store::Get(const std::string& key, std::optional<ByteRange> range, Writer& out,
                                               std::stop_token stop) {
  return transport_.Download({.key = BucketKey(key)}, range, out, stop);
}

Result<std::optional<ObjectInfo>> S3Store::Head(const std::string& key, std::stop_token stop) {
  Call call{.method = "HEAD", .key = BucketKey(key)};
  TRY_ASSIGN(Answer answer, transport_.Ask(call, 0, stop));
  // A missing bucket looks the same; the first GET or PUT tells.
  if (answer.head.status == 404) return std::optional<ObjectInfo>();
  if (!answer.ok()) return Failure(call, answer);
  return std::optional(InfoOf(answer.head));
}

Status S3Store::Put(const std::string& key, const Body& body, std::stop_token stop) {
  if (body.size >= 2 * options_.part_size) return PutInParts(BucketKey(key), body, stop);
  TRY_ASSIGN(std::unique_ptr<Reader> in, body.open());
  std::string bytes(body.size, '\0');
  TRY(ReadExactly(*in, bytes));
  TRY(AskOk({.method = "PUT",
             .key = BucketKey(key),
             .headers = {{"Content-Type", "application/octet-stream"}},
             .body = std::move(bytes)},
            stop));
  return Ok();
}

Result<bool> S3Store::PutIf(const std::string& key, std::string_view bytes, const Condition& condition,
                            std::stop_token stop) {
  TRY_ASSIGN(bool honoured, HasConditions(stop));
  if (!honoured) return Invalid("{} has no conditional writes", Name());
  Call call{.method = "PUT",
            .key = BucketKey(key),
            .headers = {{"Content-Type", "application/octet-stream"}, ConditionHeader(condition)},
            .body = std::string(bytes)};
  TRY_ASSIGN(Answer answer, transport_.Ask(call, kMaxListing, stop));
  if (answer.head.status == 412) return false;
  // If-Match of an object that is gone.
  if (answer.head.status == 404 && ReadS3Error(answer.body).code == "NoSuchKey") return false;
  if (!answer.ok()) return Failure(call, answer);
  return true;
}

Result<bool> S3Store::HasConditions(std::stop_token stop) {
  // Held meanwhile: the threads of one export ask once.
  auto known = conditions_.Lock();
  if (!*known) {
    Call call{.method = "PUT", .key = BucketKey(std::string(kConditionProbe))};
    TRY_ASSIGN(*known, ProbeConditions(transport_, *this, call, stop));
  }
  return **known;
}

Result<std::vector<ListedObject>> S3Store::List(const std::string& prefix, std::stop_token stop) {
  std::vector<ListedObject> listed;
  std::string token;
  while (true) {
    Call call{.query = {{"list-type", "2"}, {"prefix", BucketKey(prefix)}, {"encoding-type", "url"}}};
    if (!token.empty()) call.query.emplace_back("continuation-token", token);
    TRY_ASSIGN(Answer answer, AskOk(call, stop));
    auto xml = ParseXml(answer.body);
    if (!xml || xml->name != "ListBucketResult") {
      return Corrupt("{}: the listing is not a ListBucketResult", Name());
    }
    const std::optional<Timestamp> now = InfoOf(answer.head).now;
    const bool encoded = xml->Text("EncodingType") == "url";
    for (const XmlElement& entry : xml->children) {
      if (entry.name != "Contents") continue;
      std::string key = encoded ? FormDecode(entry.Text("Key")) : std::string(entry.Text("Key"));
      if (!key.starts_with(options_.prefix)) {
        return Corrupt("{}: lists {}, which is elsewhere", Name(), key);
      }
      ObjectInfo info{.size = static_cast<uint64_t>(std::max<int64_t>(0, ParseInt(entry.Text("Size")).value_or(0))),
                      .etag = std::string(entry.Text("ETag"))};
      if (auto time = ParseTime(entry.Text("LastModified"))) info.modified = *time;
      info.now = now;
      listed.push_back({key.substr(options_.prefix.size()), std::move(info)});
    }
    if (xml->Text("IsTruncated") != "true") break;
    std::string next(xml->Text("NextContinuationToken"));
    if (next.empty() || next == token) {
      return Corrupt("{}: a truncated listing has no way to go on", Name());
    }
    token = std::move(next);
  }
  std::sort(listed.begin(), listed.end(), [](const ListedObject& a, const ListedObject& b) { return a.key < b.key; });
  return listed;
}

Result<bool> S3Store::Refresh(const std::string& key, std::stop_token stop) {
  // S3 copies an object onto itself only when something about it changes: its metadata.
  Call call{.method = "PUT",
            .key = BucketKey(key),
            .headers = {{"x-amz-copy-source", EscapePath("/" + options_.bucket + "/" + BucketKey(key))},
                        {"x-amz-metadata-directive", "REPLACE"},
                        {"Content-Type", "application/octet-stream"}}};
  TRY_ASSIGN(Answer answer, transport_.Ask(call, kMaxListing, stop));
  const S3Error error = ReadS3Error(answer.body);
  if (answer.head.status == 404 && error.code == "NoSuchKey") return false;
  // One copy takes 5 GiB at most.
  if (answer.head.status == 400 && (error.code == "InvalidRequest" || error.code == "EntityTooLarge")) {
    return false;
  }
  if (!answer.ok() || !error.code.empty()) return Failure(call, answer);
  return true;
}

Status S3Store::Delete(const std::vector<std::string>& keys, std::stop_token stop) {
  for (size_t begin = 0; begin < keys.size(); begin += kMaxDeletes) {
    const size_t end = std::min(keys.size(), begin + kMaxDeletes);
    std::string body = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>";
    for (size_t i = begin; i < end; ++i) {
      body += "<Object><Key>" + EscapeXml(BucketKey(keys[i])) + "</Key></Object>";
    }
    body += "</Delete>";
    Call call{.method = "POST",
              .query = {{"delete", ""}},
              .headers = {{"Content-Type", "application/xml"}, {"Content-MD5", ContentMd5(body)}},
              .body = std::move(body)};
    TRY_ASSIGN(Answer answer, AskOk(call, stop));
    auto xml = ParseXml(answer.body);
    if (!xml) return Corrupt("{}: the answer to DeleteObjects is not XML", Name());
    for (const XmlElement& entry : xml->children) {
      if (entry.name != "Error" || entry.Text("Code") == "NoSuchKey") continue;
      return S3Failure(
          fmt::format("DELETE s3://{}/{}", options_.bucket, entry.Text("Key")), 403,
          {.code = std::string(entry.Text("Code")), .message = std::string(entry.Text("Message")), .region = {}});
    }
  }
  return Ok();
}

}  // namespace varve::objects
