#include "objects/http_store.h"

#include <algorithm>

#include "base/hex.h"
#include "base/percent.h"
#include "base/strings.h"
#include "objects/attributes.h"
#include "objects/aws_signature.h"
#include "objects/probe_conditions.h"

namespace varve::objects {

namespace {

constexpr uint64_t kMaxAnswer = 64 << 10;  // pages that servers send after a PUT

// What the server says of its reasons, in a line; pages are for browsers.
std::string Reason(const Answer& answer) {
  constexpr size_t kLongest = 200;
  if (!answer.head.Header("content-type").starts_with("text/plain")) return "";
  std::string line = answer.body.substr(0, std::min(answer.body.find_first_of("\r\n"), kLongest));
  if (line.empty() || std::ranges::any_of(line, [](unsigned char c) { return c < ' ' || c > '~'; })) return "";
  return ": " + line;
}

}  // namespace

Result<HttpOptions> TakeHttpOptions(std::map<std::string, std::string>& attributes) {
  Attributes take(attributes);
  HttpOptions options{.url = take.Take("url"),
                      .user = take.Take("username"),
                      .password = take.Take("password"),
                      .token = take.Take("token")};
  if (std::string value = take.Take("header"); !value.empty()) {
    for (const std::string& line : Split(value, '\n')) {
      size_t colon = line.find(':');
      std::string name = line.substr(0, colon);
      // Its value may be a secret: it is not shown.
      if (colon == line.npos || name.empty() || name.find_first_of(" \t\r") != name.npos ||
          line.find('\r') != line.npos) {
        return Invalid("header= of type=http is not NAME: VALUE");
      }
      options.headers.emplace_back(name, TrimSpace(std::string_view(line).substr(colon + 1)));
    }
  }
  TRY(take.TakeTls(options.tls));
  if (options.url.empty()) {
    Error error = Invalid("type=http has no url");
    error.hint = "add url=https://HOST/PATH";
    return error;
  }
  if (!options.token.empty() && !options.user.empty()) {
    return Invalid("type=http has a token and a username: one of them is enough");
  }
  return options;
}

Result<std::unique_ptr<HttpStore>> HttpStore::Open(HttpOptions options, net::HttpClient& http, Clock& clock,
                                                   net::Sleeper& sleeper) {
  TRY_ASSIGN(net::Url base, net::ParseUrl(options.url));
  if (!base.user_info.empty() && options.user.empty() && options.token.empty()) {
    size_t colon = base.user_info.find(':');
    options.user = PercentDecode(base.user_info.substr(0, colon));
    if (colon != std::string::npos) options.password = PercentDecode(base.user_info.substr(colon + 1));
  }
  base.user_info.clear();
  while (base.path.ends_with('/')) base.path.pop_back();
  return std::unique_ptr<HttpStore>(new HttpStore(std::move(options), std::move(base), http, clock, sleeper));
}

HttpStore::HttpStore(HttpOptions options, net::Url base, net::HttpClient& http, Clock& clock, net::Sleeper& sleeper)
    : options_(std::move(options)), base_(std::move(base)),
      transport_(http, *this, sleeper, clock, options_.retry, "http") {}

std::string HttpStore::Name() const { return net::Redact(base_.String()); }

Result<net::Request> HttpStore::Prepare(const Call& call, std::stop_token) {
  net::Url url = base_;
  url.path += "/" + EscapePath(call.key);
  net::Request request{.method = call.method,
                       .url = url.String(),
                       .headers = call.headers,
                       .body = call.body,
                       .open_body = call.open_body,
                       .body_size = call.body_size,
                       .timeouts = options_.timeouts,
                       .tls = options_.tls};
  request.headers.insert(request.headers.end(), options_.headers.begin(), options_.headers.end());
  if (!options_.token.empty()) {
    request.headers.emplace_back("Authorization", "Bearer " + options_.token);
  } else if (!options_.user.empty()) {
    request.headers.emplace_back("Authorization", "Basic " + Base64Encode(options_.user + ":" + options_.password));
  }
  return request;
}

Endpoint::Verdict HttpStore::Judge(const Call&, const net::Request&, const Answer& answer) {
  return net::IsRetryableStatus(answer.head.status) ? Verdict::kAgain : Verdict::kFinal;
}

Error HttpStore::Failure(const Call& call, const Answer& answer) {
  const int status = answer.head.status;
  std::string what = fmt::format("{} {}/{}", call.method, Name(), call.key);
  if (net::IsRetryableStatus(status)) return Unavailable("{}: status {}", what, status);
  if (status == 404 || status == 410) return NotFound("{}: status {}", what, status);
  if (status == 401 || status == 403) {
    Error denied = Invalid("{}: denied: status {}", what, status);
    denied.hint = options_.token.empty() && options_.user.empty()
                      ? "add token=, or username= and password="
                      : "the server does not accept these credentials for this";
    return denied;
  }
  return Invalid("{}: refused: status {}{}", what, status, Reason(answer));
}

Result<std::optional<ObjectInfo>> HttpStore::Get(const std::string& key, std::optional<ByteRange> range, Writer& out,
                                                 std::stop_token stop) {
  return transport_.Download({.key = key}, range, out, stop);
}

Result<std::optional<ObjectInfo>> HttpStore::Head(const std::string& key, std::stop_token stop) {
  Call call{.method = "HEAD", .key = key};
  TRY_ASSIGN(Answer answer, transport_.Ask(call, 0, stop));
  if (answer.ok()) return std::optional(InfoOf(answer.head));
  Error error = Failure(call, answer);
  if (error.code == Code::kNotFound) return std::optional<ObjectInfo>();
  return error;
}

Status HttpStore::Put(const std::string& key, const Body& body, std::stop_token stop) {
  Call call{.method = "PUT", .key = key, .open_body = body.open, .body_size = body.size};
  TRY_ASSIGN(Answer answer, transport_.Ask(call, kMaxAnswer, stop));
  if (!answer.ok()) return Failure(call, answer);
  return Ok();
}

Result<bool> HttpStore::PutIf(const std::string& key, std::string_view bytes, const Condition& condition,
                              std::stop_token stop) {
  TRY_ASSIGN(bool honoured, HasConditions(stop));
  if (!honoured) return Invalid("{} has no conditional writes", Name());
  Call call{.method = "PUT", .key = key, .headers = {ConditionHeader(condition)}, .body = std::string(bytes)};
  TRY_ASSIGN(Answer answer, transport_.Ask(call, kMaxAnswer, stop));
  if (answer.head.status == 412 || answer.head.status == 404) return false;
  if (!answer.ok()) return Failure(call, answer);
  return true;
}

Result<bool> HttpStore::HasConditions(std::stop_token stop) {
  auto known = conditions_.Lock();
  if (!*known) {
    Call call{.method = "PUT", .key = std::string(kConditionProbe)};
    TRY_ASSIGN(*known, ProbeConditions(transport_, *this, call, stop));
  }
  return **known;
}

Result<std::vector<ListedObject>> HttpStore::List(const std::string&, std::stop_token) {
  return Invalid("{} cannot be listed: plain HTTP has no way to", Name());
}

Result<bool> HttpStore::Refresh(const std::string&, std::stop_token) { return false; }

Status HttpStore::Delete(const std::vector<std::string>& keys, std::stop_token stop) {
  for (const std::string& key : keys) {
    Call call{.method = "DELETE", .key = key};
    TRY_ASSIGN(Answer answer, transport_.Ask(call, kMaxAnswer, stop));
    if (answer.ok()) continue;
    if (Error error = Failure(call, answer); error.code != Code::kNotFound) return error;
  }
  return Ok();
}

}  // namespace varve::objects
