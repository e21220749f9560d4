#include "net/http_client.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/clock.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/strings.h"
#include "net/curl_library.h"
#include "net/url.h"

namespace varve::net {

namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaderBytes = 256 << 10;
constexpr size_t kMaxIdleLanes = 16;

using SteadyTime = std::chrono::steady_clock::time_point;

// A transfer's own multi handle, not curl_easy_perform: curl_multi_wakeup is the one way to
// interrupt a wait from another thread, and connections kept by a multi need no lock.
struct Lane {
  const CurlLibrary& curl;
  CURLM* multi = curl.multi_init();
  CURL* easy = curl.easy_init();
  std::string origin = {};  // of its last request, whose connection it probably still has

  explicit Lane(const CurlLibrary& library) : curl(library) {}
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane() {
    curl.easy_cleanup(easy);
    curl.multi_cleanup(multi);
  }

  // The value has the type that the option's manual page states: curl cannot check it.
  template <class T>
  void Set(CURLoption option, T value) const {
    curl.easy_setopt(easy, option, value);
  }
};

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// One request to one URL: what curl's callbacks see.
struct Transfer {
  const Request& request;
  const ChooseSink& choose_sink;
  Url url;
  std::string method;
  bool send_body;
  Headers headers;

  Response response = {};
  bool headers_done = false;
  size_t header_bytes = 0;
  Writer* sink = nullptr;
  bool sink_chosen = false;
  std::unique_ptr<Reader> body = {};
  std::optional<Error> error = {};  // ours, which curl only knows as "aborted"
  SteadyTime last_activity = std::chrono::steady_clock::now();
  char curl_error[CURL_ERROR_SIZE] = {};

  void Touch() { last_activity = std::chrono::steady_clock::now(); }

  bool Redirected() const {
    return request.follow_redirects && IsRedirect(response.status) && !response.Header("Location").empty();
  }

  bool ChooseSinkOnce() {
    if (sink_chosen || Redirected()) return true;
    sink_chosen = true;
    auto chosen = choose_sink ? choose_sink(response) : Result<Writer*>(nullptr);
    if (!chosen) {
      error = std::move(chosen).error();
      return false;
    }
    sink = *chosen;
    return true;
  }

  bool OpenBodyAgain() {
    auto opened = request.open_body ? request.open_body()
                                    : Result<std::unique_ptr<Reader>>(std::make_unique<StringReader>(request.body));
    if (!opened) {
      error = std::move(opened).error();
      return false;
    }
    body = std::move(*opened);
    return true;
  }
};

size_t OnHeader(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  size_t length = size * count;
  std::string_view line = TrimSpace({data, length});
  transfer.Touch();
  transfer.header_bytes += length;
  if (transfer.header_bytes > kMaxHeaderBytes) {
    transfer.error = Unavailable("{} sends more than 256 KiB of headers", transfer.url.Authority());
    return 0;
  }
  Response& response = transfer.response;
  if (line.starts_with("HTTP/")) {  // a new head: after a 1xx
    size_t blank = std::min(line.find(' '), line.size());
    response = {.status = static_cast<int>(ParseInt(TrimSpace(line.substr(blank)).substr(0, 3)).value_or(0))};
    transfer.headers_done = false;
  } else if (line.empty()) {
    transfer.headers_done = response.status >= 200;
  } else if (size_t colon = line.find(':'); colon != line.npos && !transfer.headers_done) {
    // What comes after the end of the headers is a trailer, and says nothing we use.
    response.headers.emplace_back(line.substr(0, colon), TrimSpace(line.substr(colon + 1)));
  }
  return length;
}

size_t OnBody(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  size_t length = size * count;
  if (!transfer.ChooseSinkOnce()) return 0;
  if (transfer.sink != nullptr) {
    if (auto status = transfer.sink->Write({data, length}); !status) {
      transfer.error = std::move(status).error();
      return 0;
    }
  }
  transfer.Touch();  // after the write: a slow disk is not a stalled server
  return length;
}

size_t OnRead(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.body == nullptr && !transfer.OpenBodyAgain()) return CURL_READFUNC_ABORT;
  auto n = transfer.body->Read({data, size * count});
  transfer.Touch();
  if (!n) {
    transfer.error = std::move(n).error();
    return CURL_READFUNC_ABORT;
  }
  return *n;
}

// curl rewinds when a kept connection turns out to be dead after part of the body was sent.
int OnSeek(void* user, curl_off_t offset, int origin) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  if (transfer.request.body_has_effect) return CURL_SEEKFUNC_FAIL;
  return transfer.OpenBodyAgain() ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

Error CurlError(const CurlLibrary& curl, CURLcode code, const Transfer& transfer) {
  const char* text = transfer.curl_error[0] ? transfer.curl_error : curl.easy_strerror(code);
  std::string target = Redact(transfer.url.String());
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR: {
      Error error = Invalid("{}: the certificate is not trusted: {}", target, text);
      error.hint = "add the certificate of its CA to this machine, or name it in the configuration";
      return error;
    }
    case CURLE_SSL_CACERT_BADFILE: {
      Error error = Invalid("{}: cannot read the CA certificates {}", target, transfer.request.tls.ca);
      error.hint = "give a PEM file, or a directory made by openssl rehash";
      return error;
    }
    case CURLE_SSL_CERTPROBLEM: {
      const Tls& tls = transfer.request.tls;
      return Invalid("{}: cannot use the client's certificate {} with the key {}: {}", target, tls.certificate, tls.key,
                     text);
    }
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Invalid("{}: {}", target, text);
    case CURLE_OUT_OF_MEMORY:
      return Resource("{}: {}", target, text);
    default:
      return Unavailable("{}: {}", target, text);
  }
}

using Slist = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

Result<Slist> HeaderList(const CurlLibrary& curl, const Transfer& transfer) {
  curl_slist* list = nullptr;
  auto add = [&](const std::string& line) { list = curl.slist_append(list, line.c_str()); };
  // Without a body to hold back for, waiting a second for "100 Continue" is what it would cost.
  add("Expect:");
  for (const auto& [name, value] : transfer.headers) {
    if ((name + value).find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      curl.slist_free_all(list);
      return Invalid("header {} has a line break in it", name);
    }
    add(value.empty() ? name + ";" : name + ": " + value);
  }
  return Slist(list, curl.slist_free_all);
}

void SetTls(const Lane& lane, const Tls& tls) {
  lane.Set(CURLOPT_SSL_VERIFYPEER, tls.insecure ? 0L : 1L);
  lane.Set(CURLOPT_SSL_VERIFYHOST, tls.insecure ? 0L : 2L);
  // One of the two options is replaced and the other keeps the system's store.
  std::error_code ignored;
  if (std::filesystem::is_directory(tls.ca, ignored)) {
    lane.Set(CURLOPT_CAPATH, tls.ca.c_str());
  } else if (!tls.ca.empty()) {
    lane.Set(CURLOPT_CAINFO, tls.ca.c_str());
  } else if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr && *file != '\0') {
    lane.Set(CURLOPT_CAINFO, file);
  }
  if (!tls.certificate.empty()) {
    lane.Set(CURLOPT_SSLCERT, tls.certificate.c_str());
    lane.Set(CURLOPT_SSLKEY, tls.key.c_str());
  }
}

void SetProxy(const Lane& lane, const Url& url) {
  if (IsLoopback(url.host)) {
    lane.Set(CURLOPT_NOPROXY, "*");
    return;
  }
  // curl reads http_proxy in lower case only, a rule for CGI programs, which varve is none of.
  const char* proxy = std::getenv("HTTP_PROXY");
  if (url.scheme == "http" && std::getenv("http_proxy") == nullptr && proxy && *proxy) {
    lane.Set(CURLOPT_PROXY, proxy);
  }
}

void SetOptions(const Lane& lane, Transfer& transfer, curl_slist* headers, const std::string& url) {
  const Request& request = transfer.request;
  lane.Set(CURLOPT_URL, url.c_str());
  lane.Set(CURLOPT_PROTOCOLS_STR, "http,https");
  lane.Set(CURLOPT_PATH_AS_IS, 1L);
  lane.Set(CURLOPT_NOSIGNAL, 1L);
  lane.Set(CURLOPT_TCP_KEEPALIVE, 1L);
  lane.Set(CURLOPT_USERAGENT, UserAgent());
  lane.Set(CURLOPT_HTTPHEADER, headers);
  lane.Set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  lane.Set(CURLOPT_ERRORBUFFER, transfer.curl_error);
  lane.Set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.timeouts.connect.count()));
  lane.Set(CURLOPT_BUFFERSIZE, 256L << 10);
  lane.Set(CURLOPT_HEADERFUNCTION, OnHeader);
  lane.Set(CURLOPT_HEADERDATA, &transfer);
  lane.Set(CURLOPT_WRITEFUNCTION, OnBody);
  lane.Set(CURLOPT_WRITEDATA, &transfer);
  if (transfer.method == "HEAD") {
    lane.Set(CURLOPT_NOBODY, 1L);
  } else if (transfer.send_body) {
    lane.Set(CURLOPT_UPLOAD, 1L);
    lane.Set(CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    lane.Set(CURLOPT_READFUNCTION, OnRead);
    lane.Set(CURLOPT_READDATA, &transfer);
    lane.Set(CURLOPT_SEEKFUNCTION, OnSeek);
    lane.Set(CURLOPT_SEEKDATA, &transfer);
    uint64_t size = request.open_body ? request.body_size : request.body.size();
    lane.Set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(size));
  }
  if (transfer.method != "HEAD") {
    lane.Set(CURLOPT_CUSTOMREQUEST, transfer.method.c_str());
  }
  SetTls(lane, request.tls);
  SetProxy(lane, transfer.url);
}

// Drives the transfer to its end, its deadline or the stop.
Status Drive(Lane& lane, Transfer& transfer, SteadyTime deadline, std::stop_token stop) {
  std::stop_callback wake(stop, [&lane] { lane.curl.multi_wakeup(lane.multi); });
  const auto stall = transfer.request.timeouts.stall;
  while (true) {
    int running = 0;
    if (CURLMcode code = lane.curl.multi_perform(lane.multi, &running); code != CURLM_OK) {
      return Internal("curl: {}", lane.curl.multi_strerror(code));
    }
    if (running == 0) return Ok();
    if (stop.stop_requested()) {
      return Cancelled("{} was cancelled", Redact(transfer.url.String()));
    }
    SteadyTime now = std::chrono::steady_clock::now();
    SteadyTime stalled = stall.count() > 0 ? transfer.last_activity + stall : SteadyTime::max();
    if (now >= std::min(stalled, deadline)) {
      auto limit = now >= deadline ? transfer.request.timeouts.total : stall;
      return Unavailable("{} {} within {}", Redact(transfer.url.String()),
                         now >= deadline ? "was not done" : "sent nothing", FormatDuration(limit));
    }
    auto left = std::chrono::ceil<std::chrono::milliseconds>(std::min(stalled, deadline) - now);
    int wait = static_cast<int>(std::clamp<int64_t>(left.count(), 1, 1000));
    lane.curl.multi_poll(lane.multi, nullptr, 0, wait, nullptr);
  }
}

Status Perform(Lane& lane, Transfer& transfer, SteadyTime deadline, std::stop_token stop) {
  TRY_ASSIGN(Slist headers, HeaderList(lane.curl, transfer));
  std::string url = transfer.url.String();
  lane.curl.easy_reset(lane.easy);
  SetOptions(lane, transfer, headers.get(), url);
  lane.curl.multi_add_handle(lane.multi, lane.easy);
  Status driven = Drive(lane, transfer, deadline, stop);
  CURLcode code = CURLE_OK;
  int left = 0;
  while (const CURLMsg* message = lane.curl.multi_info_read(lane.multi, &left)) {
    if (message->msg == CURLMSG_DONE) code = message->data.result;
  }
  lane.curl.multi_remove_handle(lane.multi, lane.easy);
  if (transfer.error) return std::move(*transfer.error);
  TRY(driven);
  // A server may refuse an upload and close before it has read all of it: its answer counts.
  bool refused = (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR) && transfer.headers_done &&
                 transfer.send_body && transfer.response.status >= 400;
  if (code != CURLE_OK && !refused) return CurlError(lane.curl, code, transfer);
  if (!transfer.headers_done) {
    return Unavailable("{}: connection closed before an answer came", Redact(url));
  }
  if (!transfer.ChooseSinkOnce()) return std::move(*transfer.error);
  transfer.response.url = url;
  return Ok();
}

// The request for the next hop of a redirect, in place.
Status Redirect(Transfer& transfer, const Response& response) {
  TRY_ASSIGN(Url next, ResolveUrl(transfer.url, response.Header("Location")));
  if (transfer.url.scheme == "https" && next.scheme == "http") {
    return Invalid("{} redirects from https to {}", Redact(transfer.url.String()), Redact(next.String()));
  }
  if (!SameOrigin(transfer.url, next)) {
    std::erase_if(transfer.headers, [](const auto& header) {
      return EqualsIgnoreCase(header.first, "Authorization") || EqualsIgnoreCase(header.first, "Cookie");
    });
  }
  bool keeps =
      response.status == 307 || response.status == 308 || transfer.method == "GET" || transfer.method == "HEAD";
  if (!keeps) {
    transfer.method = "GET";
    transfer.send_body = false;
    std::erase_if(transfer.headers, [](const auto& header) { return ToLower(header.first).starts_with("content-"); });
  }
  transfer.url = std::move(next);
  return Ok();
}

class LimitedWriter final : public Writer {
 public:
  LimitedWriter(std::string& out, uint64_t limit, std::string source)
      : out_(out), limit_(limit), source_(std::move(source)) {}
  Status Write(std::string_view data) override {
    if (data.size() > limit_ - out_.size()) {
      return Invalid("answer of {} is larger than {}", source_, FormatBytes(limit_));
    }
    out_.append(data);
    return Ok();
  }

 private:
  std::string& out_;
  uint64_t limit_;
  std::string source_;
};

}  // namespace

std::string_view Response::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (EqualsIgnoreCase(key, name)) return value;
  }
  return {};
}

std::vector<std::string_view> Response::AllHeaders(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const auto& [key, value] : headers) {
    if (EqualsIgnoreCase(key, name)) out.push_back(value);
  }
  return out;
}

struct HttpClient::Pool {
  Guarded<std::vector<std::unique_ptr<Lane>>> idle;

  Result<std::unique_ptr<Lane>> Take(const std::string& origin) {
    TRY_ASSIGN(const CurlLibrary* curl, CurlLibrary::Get());
    auto lanes = idle.Lock();
    auto found =
        std::ranges::find(lanes->rbegin(), lanes->rend(), origin, [](const auto& lane) { return lane->origin; });
    if (found == lanes->rend() && lanes->size() < kMaxIdleLanes) {
      auto lane = std::make_unique<Lane>(*curl);
      lane->origin = origin;
      return lane;
    }
    auto place = found == lanes->rend() ? lanes->begin() : std::prev(found.base());
    std::unique_ptr<Lane> lane = std::move(*place);
    lanes->erase(place);
    lane->origin = origin;
    return lane;
  }

  void Give(std::unique_ptr<Lane> lane) {
    auto lanes = idle.Lock();
    if (lanes->size() < kMaxIdleLanes) lanes->push_back(std::move(lane));
  }
};

HttpClient::HttpClient() : pool_(std::make_unique<Pool>()) {}
HttpClient::~HttpClient() = default;

Result<Response> HttpClient::Send(const Request& request, const ChooseSink& sink, std::stop_token stop) {
  auto cancelled = [&] { return Cancelled("{} was cancelled", Redact(request.url)); };
  TRY_ASSIGN(Url url, ParseUrl(request.url));
  bool has_body = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  Transfer hop{.request = request,
               .choose_sink = sink,
               .url = std::move(url),
               .method = request.method,
               .send_body = has_body,
               .headers = request.headers};
  SteadyTime deadline = request.timeouts.total.count() > 0 ? std::chrono::steady_clock::now() + request.timeouts.total
                                                           : SteadyTime::max();
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    if (stop.stop_requested()) return cancelled();
    // Each hop sees its own state; what it inherits is where to go and what to send.
    Transfer transfer{.request = request,
                      .choose_sink = sink,
                      .url = hop.url,
                      .method = hop.method,
                      .send_body = hop.send_body,
                      .headers = hop.headers};
    TRY_ASSIGN(std::unique_ptr<Lane> lane, pool_->Take(transfer.url.Origin()));
    if (lane->easy == nullptr || lane->multi == nullptr) return Resource("curl: out of memory");
    Status status = Perform(*lane, transfer, deadline, stop);
    pool_->Give(std::move(lane));
    LOG_DEBUG("http: {} {}: {}", transfer.method, Redact(transfer.url.String()),
              status ? std::to_string(transfer.response.status) : status.error().message);
    TRY(status);
    if (!transfer.Redirected()) return std::move(transfer.response);
    TRY(Redirect(hop, transfer.response));
  }
  return Invalid("{} redirects more than {} times", Redact(request.url), kMaxRedirects);
}

Result<Reply> HttpClient::Fetch(const Request& request, uint64_t limit, std::stop_token stop) {
  Reply reply;
  LimitedWriter writer(reply.body, limit, Redact(request.url));
  auto sink = [&](const Response&) -> Result<Writer*> { return &writer; };
  auto head = Send(request, sink, stop);
  if (!head) return std::move(head).error();
  reply.head = std::move(*head);
  return reply;
}

const char* UserAgent() { return "varve/" VARVE_VERSION; }

}  // namespace varve::net
