// Requests to one endpoint: authorised, counted, repeated while that may help.
//
// Counters: registry.requests, registry.retries, registry.bytes_in, registry.bytes_out.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "registry/auth.h"
#include "registry/config.h"

namespace varve::registry {

struct Call {
  std::string method = "GET";
  std::string path;        // "/v2/library/node/manifests/20", or
  std::string url = {};    // absolute: a Location. Elsewhere than the endpoint: no credentials
  std::string query = {};  // "a=b&c=d", escaped
  net::Headers headers = {};
  std::string body = {};
  net::OpenBody open_body = {};
  uint64_t body_size = 0;
  bool body_has_effect = false;  // net::Request
  Scopes scopes = {};
  std::optional<std::chrono::milliseconds> stall = {};  // instead of the options'
};

struct Answer {
  net::Response head;
  std::string body;  // of a status other than 2xx, its first 64 KiB; else what the call collects
};

struct TransportOptions {
  net::RetryPolicy retry = {};
  net::Timeouts timeouts = {};
};

class Transport {
 public:
  Transport(net::HttpClient& http, CredentialStore& credentials, Clock& clock, net::Sleeper& sleeper,
            const TransportOptions& options)
      : http_(http), clock_(clock), sleeper_(sleeper), options_(options),
        authenticator_(http, credentials, clock, sleeper, options.retry) {}

  // One attempt, with another one after a 401. `sink` is asked for answers of status 2xx only.
  Result<Answer> SendOnce(const Endpoint& endpoint, const Call& call, const net::ChooseSink& sink,
                          std::stop_token stop);

  // Any answer that is not worth another attempt, its body collected up to `limit`. An answer like
  // 500 is returned once the attempts are used up. `attempts` limits those that get no answer.
  Result<Answer> Ask(const Endpoint& endpoint, const Call& call, uint64_t limit, std::optional<int> attempts,
                     std::stop_token stop);

  // The pause that an answer asks for.
  std::optional<Nanos> RetryAfter(const net::Response& head) const;
  net::Retrier NewRetrier() const { return net::Retrier(options_.retry, sleeper_); }
  Clock& clock() const { return clock_; }

 private:
  net::HttpClient& http_;
  Clock& clock_;
  net::Sleeper& sleeper_;
  const TransportOptions options_;
  Authenticator authenticator_;
};

}  // namespace varve::registry
