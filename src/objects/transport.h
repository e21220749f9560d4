// Requests of object stores: prepared (and signed) anew for each attempt, counted, repeated while
// that may help, and downloads continued where they broke off.
//
// Counters: <kind>.requests, .retries, .bytes_in, .bytes_out, where kind is "s3" or "http".
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "base/metric.h"
#include "net/http_client.h"
#include "net/retry.h"
#include "objects/object_store.h"

namespace varve::objects {

struct Call {
  std::string method = "GET";
  std::string key = {};
  std::vector<std::pair<std::string, std::string>> query = {};  // unescaped
  net::Headers headers = {};
  std::string body = {};  // known as a whole, or
  net::OpenBody open_body = {};
  uint64_t body_size = 0;
};

struct Answer {
  net::Response head;
  std::string body;  // of a status other than 2xx, its first 64 KiB; else what the call collects

  bool ok() const { return head.status >= 200 && head.status <= 299; }
};

// What an endpoint adds to a transport: how its requests look and what its answers mean.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  // The request of one attempt.
  virtual Result<net::Request> Prepare(const Call& call, std::stop_token stop) = 0;
  enum class Verdict {
    kFinal,      // success, or a failure that repeating does not change
    kAgain,      // after a pause
    kCorrected,  // at once: the cause was found and put right for the next Prepare
  };
  virtual Verdict Judge(const Call& call, const net::Request& sent, const Answer& answer) = 0;
  // The error of a final answer that is not what the caller can use.
  virtual Error Failure(const Call& call, const Answer& answer) = 0;
};

class Transport {
 public:
  Transport(net::HttpClient& http, Endpoint& endpoint, net::Sleeper& sleeper, Clock& clock,
            const net::RetryPolicy& policy, const std::string& kind);

  // Any final answer, the body of a 2xx collected up to `limit`. Still kAgain after the last
  // attempt: its Failure.
  Result<Answer> Ask(const Call& call, uint64_t limit, std::stop_token stop);

  // ObjectStore::Get, for a call that would fetch the whole object.
  Result<std::optional<ObjectInfo>> Download(const Call& whole, std::optional<ByteRange> range, Writer& out,
                                             std::stop_token stop);

 private:
  class Attempts;
  Result<Answer> Send(const Call& call, const net::Request& request, const net::ChooseSink& sink, std::stop_token stop);

  net::HttpClient& http_;
  Endpoint& endpoint_;
  net::Sleeper& sleeper_;
  Clock& clock_;
  const net::RetryPolicy policy_;
  Counter requests_, retries_, bytes_in_, bytes_out_;
  std::atomic<bool> answered_{false};  // the server, ever
};

// Size, ETag and Last-Modified of an answer to GET or HEAD.
ObjectInfo InfoOf(const net::Response& head);

}  // namespace varve::objects
