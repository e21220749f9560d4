// A bucket in memory behind HTTP on loopback, with the faults of real ones. It checks signatures
// and digests of bodies, and pages its listings. Without keys it is a plain web server with PUT, or a bazel-remote.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/guarded.h"
#include "net/testing/http_server.h"
#include "objects/aws_signature.h"

namespace varve::objects::testing {

struct BucketOptions {
  std::string bucket = "cache";
  std::string region = "eu-west-9";
  std::optional<AwsKeys> keys = AwsKeys{"ID", "secret", ""};  // without: nothing is checked
  int64_t clock_ahead = 0;  // seconds, of the server's clock; 15 minutes apart is refused
  size_t page_size = 2;     // of listings
  bool conditions = true;   // honours If-Match and If-None-Match of a PUT
  bool ranges = true;
  bool bazel_remote = false;  // no bucket: takes and refuses what bazel-remote does
};

class FakeBucket {
 public:
  // Called before the n-th request, from 0, is carried out: an answer instead of it.
  using Instead = std::function<std::optional<net::testing::ServerReply>(int n, const net::testing::ServerRequest&)>;
  // Called after it: what the client gets of the answer.
  using Spoil = std::function<void(int n, const net::testing::ServerRequest&, net::testing::ServerReply&)>;

  explicit FakeBucket(BucketOptions options = {});

  std::string Url(const std::string& path = "") const { return server_.Url(path); }
  void Stop() { server_.Stop(); }  // connections are refused from now on
  void SetKeys(const AwsKeys& keys) { state_.Lock()->keys = keys; }
  void SetFaults(Instead instead, Spoil spoil = {});

  std::map<std::string, std::string> Objects();
  void PutObject(const std::string& key, const std::string& bytes);
  void RemoveObject(const std::string& key) { state_.Lock()->objects.erase(key); }
  // The server's clock goes on.
  void Advance(std::chrono::seconds time) { state_.Lock()->clock_ahead += time.count(); }
  size_t unfinished_uploads() { return state_.Lock()->uploads.size(); }
  int requests() { return state_.Lock()->requests; }
  std::vector<std::string> log() { return state_.Lock()->log; }  // "PUT /cache/key?partNumber=1…"

 private:
  struct Object {
    std::string bytes, etag;
    int64_t modified = 0;  // Unix seconds
  };
  struct State {
    std::optional<AwsKeys> keys;
    std::map<std::string, Object> objects;
    std::map<std::string, std::map<int, Object>> uploads;
    int versions = 0, requests = 0;
    int64_t clock_ahead = 0;
    std::vector<std::string> log;
    Instead instead;
    Spoil spoil;
  };
  net::testing::ServerReply Answer(const net::testing::ServerRequest& request);
  net::testing::ServerReply CarryOut(State& state, const net::testing::ServerRequest& request);
  net::testing::ServerReply CarryOutAsBazelRemote(State& state, const net::testing::ServerRequest& request);
  std::optional<net::testing::ServerReply> Refusal(const State& state,
                                                   const net::testing::ServerRequest& request) const;
  net::testing::ServerReply List(const State& state, const net::testing::ServerRequest& request) const;
  net::testing::ServerReply Put(State& state, const std::string& key, const net::testing::ServerRequest& request);
  Object MakeObject(State& state, std::string bytes) const;
  net::testing::ServerReply Post(State& state, const std::string& key, const net::testing::ServerRequest& request);
  net::testing::ServerReply Read(const State& state, const std::string& key,
                                 const net::testing::ServerRequest& request) const;

  const BucketOptions options_;
  Guarded<State> state_;
  net::testing::HttpServer server_;
};

// <Error><Code>…
net::testing::ServerReply S3Refusal(int status, const std::string& code, const std::string& message = "no",
                                    const std::string& more = "");

}  // namespace varve::objects::testing
