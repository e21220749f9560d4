#include "gha/client.h"

#include <algorithm>
#include <deque>
#include <future>

#include "base/metric.h"
#include "gha/wire.h"

namespace varve::gha {

namespace {

// actions/toolkit, cache.ts: checkKey and the number of keys.
constexpr size_t kMaxKey = 512, kMaxKeys = 10;

Status CheckKeys(const std::vector<std::string>& keys) {
  if (keys.empty() || keys.size() > kMaxKeys)
    return Invalid("{} keys: 1 to {} can be asked for", keys.size(), kMaxKeys);
  for (const std::string& key : keys) {
    if (key.empty() || key.size() > kMaxKey || key.find(',') != key.npos) {
      return Invalid("'{}' is no key of the cache service: at most {} characters, and no comma", key, kMaxKey);
    }
  }
  return Ok();
}

}  // namespace

Client::Client(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper)
    : Client(http, std::move(address), clock, sleeper, Options()) {}

Client::Client(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper, Options options)
    : options_(std::move(options)), claims_(ReadToken(address.token)), downloads_(options_.download_threads) {
  bool v1 = address.protocol == Protocol::kV1;
  wire_ = (v1 ? MakeWireV1 : MakeWireV2)(http, std::move(address), clock, sleeper, options_);
}

Client::~Client() = default;

uint64_t Client::requests() const { return wire_->caller().requests(); }

Result<std::optional<FoundEntry>> Client::Find(const std::vector<std::string>& keys, const std::string& version,
                                               std::stop_token stop) {
  TRY(CheckKeys(keys));
  return wire_->Find(keys, version, stop);
}

Result<std::string> Client::ReadPart(FoundEntry& entry, std::optional<std::pair<uint64_t, uint64_t>> range,
                                     uint64_t limit, std::stop_token stop) {
  for (int attempt = 0;; ++attempt) {
    // Room for an error's text, too.
    WireRequest request{.what = "download " + entry.key, .limit = std::max<uint64_t>(limit, 64 << 10)};
    request.request.url = (refreshing_.Lock(), entry.url);
    if (range) {
      request.request.headers = {{"Range", fmt::format("bytes={}-{}", range->first, range->first + range->second - 1)}};
    }
    std::string used = request.request.url;
    TRY_ASSIGN(WireAnswer answer, wire_->caller().Call(request, stop));
    int status = answer.head.status;
    if ((status == 401 || status == 403) && attempt == 0) {
      auto locked = refreshing_.Lock();
      if (entry.url != used) continue;  // another thread did
      TRY_ASSIGN(auto fresh, wire_->Find({entry.key}, entry.version, stop));
      if (!fresh || fresh->key != entry.key) return NotFound("{} is no longer in the cache", entry.key);
      entry.url = fresh->url;
      continue;
    }
    if (status == 404 || status == 416) return NotFound("{} is no longer in the cache", entry.key);
    if (status != 200 && status != 206) return Refusal(request.what, answer);
    if (range) {
      bool whole = status == 200 && range->first == 0;
      bool right = answer.head.Header("Content-Range").starts_with(fmt::format("bytes {}-", range->first));
      if ((!whole && !right) || answer.body.size() != range->second) {
        return Unavailable("cannot {}: the answer is not the range that was asked for", request.what);
      }
    }
    if (answer.body.size() > limit) {
      return Invalid("cannot {}: it is larger than {} bytes", request.what, limit);
    }
    return std::move(answer.body);
  }
}

Result<std::string> Client::ReadSmall(FoundEntry& entry, uint64_t limit, std::stop_token stop) {
  return ReadPart(entry, {}, limit, stop);
}

Status Client::Read(FoundEntry& entry, uint64_t offset, uint64_t size, Writer& out, std::stop_token stop) {
  // Parts are fetched at once and written in order; one more than there are threads is on its way.
  std::deque<std::future<Result<std::string>>> parts;
  uint64_t next = offset;
  const uint64_t end = offset + size;
  Status status = Ok();
  while (next < end || !parts.empty()) {
    while (status && next < end && parts.size() <= options_.download_threads) {
      uint64_t length = std::min(options_.download_part, end - next);
      std::packaged_task<Result<std::string>()> task([this, &entry, next, length, stop] {
        return ReadPart(entry, {{next, length}}, length, stop);
      });
      parts.push_back(task.get_future());
      downloads_.Submit(std::move(task));
      next += length;
    }
    if (parts.empty()) break;
    Result<std::string> part = parts.front().get();  // also after a failure: the tasks refer to this frame
    parts.pop_front();
    if (!status) continue;
    if (!part) {
      status = std::move(part).error();
    } else {
      status = out.Write(*part);
    }
  }
  return status;
}

Result<bool> Client::Save(const std::string& key, const std::string& version, uint64_t size, const OpenRange& open,
                          std::stop_token stop) {
  TRY(CheckKeys({key}));
  TRY_ASSIGN(auto reservation, wire_->Reserve(key, version, size, stop));
  if (!reservation) return false;
  TRY(wire_->Upload(*reservation, key, size, open, stop));
  Status committed = wire_->Commit(*reservation, key, version, size, stop);
  if (!committed) {
    if (stop.stop_requested()) return std::move(committed).error();
    // A commit whose answer was lost fails the second time.
    auto found = wire_->Find({key}, version, stop);
    if (!found || !*found || (*found)->key != key) return std::move(committed).error();
  }
  Counter("gha.uploads").Add();
  return true;
}

}  // namespace varve::gha
