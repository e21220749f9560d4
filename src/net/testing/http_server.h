// An HTTP/1.1 server on 127.0.0.1 for tests, with the faults of real ones. Requests are answered by
// a function, which several connections may call at once.
//
//   net::testing::HttpServer server([](const ServerRequest& request) {
//     return ServerReply{.status = 200, .body = "hello"};
//   });
//   http.Fetch({.url = server.Url("/x")}, …);
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace varve::net::testing {

struct ServerRequest {
  std::string method;
  std::string target;                          // as sent
  std::string path;                            // before the "?"
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool truncated = false;  // the connection was cut by `body_limit`; no reply is sent

  std::string Header(const std::string& name) const;
  std::string Query(const std::string& name) const;
};

struct ServerReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  std::optional<size_t> cut_after = {};   // closes after that many bytes of the body
  std::optional<size_t> hang_after = {};  // sends no more, and keeps the connection open
  std::chrono::milliseconds delay{0};     // before the reply
  bool without_length = false;            // the end of the connection ends the body
};

struct ServerTls {
  std::string certificate_file, key_file;  // PEM
  std::string client_ca_file = {};         // not empty: clients must have a certificate of it
};

class HttpServer {
 public:
  using Handler = std::function<ServerReply(const ServerRequest&)>;
  // Before a body is read: cuts the connection after that many bytes of it, if there are more.
  using BodyLimit = std::function<std::optional<size_t>(const ServerRequest&)>;

  explicit HttpServer(Handler handler, BodyLimit body_limit = {}, std::optional<ServerTls> tls = {});
  ~HttpServer();  // closes all connections, joins
  void Stop();    // as the destructor does; connections are refused from now on

  std::string Address() const;                     // "127.0.0.1:port"
  std::string Url(const std::string& path) const;  // "http://127.0.0.1:port/path"
  int connections() const;                         // accepted so far

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::net::testing
