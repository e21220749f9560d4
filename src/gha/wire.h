// The two versions of the protocol behind what they have in common (reference: actions/toolkit
// packages/cache, tonistiigi/go-actions-cache). Internal to the module.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "base/json.h"
#include "gha/client.h"

namespace varve::gha {

struct WireAnswer {
  net::Response head;
  std::string body;
};

struct WireRequest {
  std::string what;  // for messages: "look up deps-1f3c"
  net::Request request;
  uint64_t limit = 1 << 20;
};

// Requests with repetitions. A 429 makes every request of the client wait.
class Caller {
 public:
  Caller(net::HttpClient& http, Clock& clock, net::Sleeper& sleeper, const Client::Options& options)
      : http_(http), clock_(clock), sleeper_(sleeper), options_(options) {}

  // Any answer that is not worth another attempt; the last one when the attempts are used up.
  Result<WireAnswer> Call(WireRequest request, std::stop_token stop);
  uint64_t requests() const { return requests_; }

 private:
  Status WaitForPause(Nanos deadline, const std::string& what, std::stop_token stop);

  net::HttpClient& http_;
  Clock& clock_;
  net::Sleeper& sleeper_;
  const Client::Options& options_;
  Guarded<Nanos> pause_until_;
  std::atomic<uint64_t> requests_ = 0;
};

// A reserved name, ready to be uploaded to.
struct Reservation {
  int64_t id = 0;   // version 1
  std::string url;  // version 2
};

class Wire {
 public:
  virtual ~Wire() = default;
  virtual Result<std::optional<FoundEntry>> Find(const std::vector<std::string>& keys, const std::string& version,
                                                 std::stop_token stop) = 0;
  virtual Result<std::optional<Reservation>> Reserve(const std::string& key, const std::string& version, uint64_t size,
                                                     std::stop_token stop) = 0;
  virtual Status Upload(const Reservation& to, const std::string& key, uint64_t size, const OpenRange& open,
                        std::stop_token stop) = 0;
  virtual Status Commit(const Reservation& to, const std::string& key, const std::string& version, uint64_t size,
                        std::stop_token stop) = 0;
  Caller& caller() { return caller_; }

 protected:
  Wire(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper,
       const Client::Options& options)
      : address_(std::move(address)), options_(options), caller_(http, clock, sleeper, options) {}

  const ServiceAddress address_;
  const Client::Options& options_;
  Caller caller_;
};

std::unique_ptr<Wire> MakeWireV1(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper,
                                 const Client::Options& options);
std::unique_ptr<Wire> MakeWireV2(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper,
                                 const Client::Options& options);

// The service's refusal, in its own words. A body may begin with a byte order mark.
Error Refusal(const std::string& what, const WireAnswer& answer);
Json BodyOf(const WireAnswer& answer);
bool SaysItExists(const WireAnswer& answer);

}  // namespace varve::gha
