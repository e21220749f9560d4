// A client of GitHub's cache service: look up, download, upload. Both versions of the protocol.
//
//   gha::Client client(http, address, SystemClock(), net::SystemSleeper());
//   TRY_ASSIGN(auto entry, client.Find({"deps-1f3c", "deps-"}, version, stop));
//   if (entry) TRY(client.Read(*entry, 0, size, out, stop));
//
// An entry is written once; there is no way to replace or delete it. Keys have at most 512 characters
// and no comma; `version` is a second part of the name, which has to be equal.
//
// Errors: kUnavailable when the service does not do what it was asked (the caller goes on without it),
// kNotFound for an entry that was evicted meanwhile, kInvalid for keys that it would not take, kCancelled.
// 429 is waited for as long as the service says, by all requests of the client; 5xx and broken
// connections are tried again; all of it within Options::deadline.
//
// Safe from any thread. Counters: gha.requests, gha.uploads (entries), gha.retries, gha.bytes_in, gha.bytes_out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/io.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "gha/service_address.h"
#include "net/http_client.h"
#include "net/retry.h"

namespace varve::gha {

struct FoundEntry {
  std::string key;  // the whole key that matched
  std::string version;
  std::string url;  // a bearer secret that expires
};

// Opens `size` bytes from `offset` on; may be called again, and from several threads.
using OpenRange = std::function<Result<std::unique_ptr<Reader>>(uint64_t offset, uint64_t size)>;

class Wire;  // one version of the protocol

class Client {
 public:
  struct Options {
    net::RetryPolicy retry = {};
    net::Timeouts timeouts = {};
    Nanos deadline{600'000'000'000};  // of one request, with its repetitions
    uint64_t upload_part = 32 << 20;  // toolkit: 32 MiB for version 1, 64 MiB for version 2
    size_t upload_threads = 4;
    uint64_t download_part = 8 << 20;  // held in memory, once a thread
    size_t download_threads = 4;
  };
  Client(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper);
  Client(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper, Options options);
  ~Client();

  // The first of the keys that is there: as it is, else the newest key that begins so. At most 10 keys.
  Result<std::optional<FoundEntry>> Find(const std::vector<std::string>& keys, const std::string& version,
                                         std::stop_token stop);

  // Writes `size` bytes from `offset` on to `out`, in order, fetched by several ranges at once. An
  // address that expired is replaced by a fresh one, in `entry` too.
  Status Read(FoundEntry& entry, uint64_t offset, uint64_t size, Writer& out, std::stop_token stop);
  // All of an entry whose size nobody knows; kInvalid beyond `limit`.
  Result<std::string> ReadSmall(FoundEntry& entry, uint64_t limit, std::stop_token stop);

  // True once the entry is committed; false when one of that name is there or reserved already.
  Result<bool> Save(const std::string& key, const std::string& version, uint64_t size, const OpenRange& open,
                    std::stop_token stop);

  const TokenClaims& claims() const { return claims_; }
  uint64_t requests() const;  // so far, repetitions and transfers included

 private:
  Result<std::string> ReadPart(FoundEntry& entry, std::optional<std::pair<uint64_t, uint64_t>> range, uint64_t limit,
                               std::stop_token stop);

  const Options options_;
  const TokenClaims claims_;
  std::unique_ptr<Wire> wire_;
  Guarded<std::string> refreshing_;  // one thread at a time asks for a fresh address
  ThreadPool downloads_;
};

}  // namespace varve::gha
