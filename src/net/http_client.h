// An HTTP and HTTPS client.
//
//   net::HttpClient http;
//   TRY_ASSIGN(net::Reply reply, http.Fetch({.url = "https://example.com/"}, 1 << 20, stop));
//   if (reply.head.status == 404) …
//
// Any status is an answer, not an error; errors are about not getting one:
//   kUnavailable  no connection, no answer in time, a connection that breaks off
//   kInvalid      a bad URL, a certificate that is not trusted, too many redirects
//   kCancelled    `stop` was requested (noticed at once, in any phase)
//   or what the body's Reader or Writer failed with.
//
// Safe from several threads at once. Connections are kept and reused, each by one thread at a time.
// Nothing is initialised before the first request: a build without network traffic pays nothing.
// Proxies come from http_proxy, https_proxy, all_proxy and no_proxy, never for loopback hosts.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/io.h"
#include "base/result.h"

namespace varve::net {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Timeouts {
  std::chrono::milliseconds connect{15'000};  // name look-up, TCP and TLS
  std::chrono::milliseconds stall{60'000};    // no byte in either direction
  std::chrono::milliseconds total{0};         // 0: unlimited
};

struct Tls {
  std::string ca;                // PEM file, or directory of hashed ones, besides the system's
  bool insecure = false;         // no check of the server's certificate
  std::string certificate, key;  // PEM files, shown to servers that ask who the client is; empty: none
  bool operator==(const Tls&) const = default;
};

// Opens the body from its start; may be called again, for a redirect or a connection that turned
// out to be dead.
using OpenBody = std::function<Result<std::unique_ptr<Reader>>()>;

struct Request {
  std::string method = "GET";
  std::string url;
  Headers headers = {};
  std::string body = {};    // for methods that have one, or
  OpenBody open_body = {};  // body_size bytes of this
  uint64_t body_size = 0;
  // A server that took part of the body keeps it (an upload session): when the connection dies,
  // the caller wants to know, and not the whole body sent again on another one.
  bool body_has_effect = false;
  bool follow_redirects = true;  // Authorization stays with its host, https stays https
  Timeouts timeouts = {};
  Tls tls = {};
};

struct Response {
  int status = 0;
  Headers headers = {};
  std::string url = {};  // after redirects
  // The first header of that name, in any case; empty when absent.
  std::string_view Header(std::string_view name) const;
  std::vector<std::string_view> AllHeaders(std::string_view name) const;
};

// Asked once status and headers are known, for the response after redirects: where its body goes;
// null drops it.
using ChooseSink = std::function<Result<Writer*>(const Response&)>;

struct Reply {
  Response head;
  std::string body;
};

class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Returns after the whole body went to the sink. A body shorter than Content-Length is
  // kUnavailable: what came of it is in the sink.
  Result<Response> Send(const Request& request, const ChooseSink& sink, std::stop_token stop);

  // The body as a string: kInvalid when it is longer than `limit`.
  Result<Reply> Fetch(const Request& request, uint64_t limit, std::stop_token stop);

 private:
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

// "varve/<version>"
const char* UserAgent();

}  // namespace varve::net
