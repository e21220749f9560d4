// An HTTP/1.1 server: requests in, replies out, over libmicrohttpd.
//
// Each connection has a thread, so an Exchange may block. A body is handed on as it comes and is never
// held in memory; files are sent with sendfile.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace varve::gha_server {

struct HttpRequest {
  std::string method;
  std::string path;                            // decoded, without the query
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // names in lower case

  std::string Header(const std::string& name) const;  // empty when absent
  std::string Query(const std::string& name) const;
};

struct HttpReply {
  struct File {
    Fd fd;
    uint64_t offset = 0, size = 0;
  };
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  std::optional<File> file = {};  // instead of `body`
};

// One request that is under way; used by its connection's thread alone. Destroyed without Finish when
// the connection broke off.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void Body(std::string_view data) = 0;  // may remember a failure for Finish
  virtual HttpReply Finish() = 0;                // the whole body was seen
};

// Called once the headers are there, from any thread.
using AcceptRequest = std::function<std::unique_ptr<Exchange>(HttpRequest)>;

class HttpDaemon {
 public:
  // `address` is HOST:PORT with a numeric host; port 0 is any free one. Serves until destroyed.
  static Result<std::unique_ptr<HttpDaemon>> Start(const std::string& address, AcceptRequest accept);
  virtual ~HttpDaemon() = default;          // ends all connections
  virtual std::string Address() const = 0;  // HOST:PORT, with the real port
};

}  // namespace varve::gha_server
