#include "base/metric.h"
#include "base/strings.h"
#include "gha/wire.h"
#include "net/url.h"

namespace varve::gha {

namespace {

class WireV1 final : public Wire {
 public:
  WireV1(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper,
         const Client::Options& options)
      : Wire(http, std::move(address), clock, sleeper, options) {}

  Result<std::optional<FoundEntry>> Find(const std::vector<std::string>& keys, const std::string& version,
                                         std::stop_token stop) override {
    WireRequest request =
        For("look up " + keys[0], "GET",
            fmt::format("cache?keys={}&version={}", net::PercentEncode(Join(keys, ",")), net::PercentEncode(version)));
    TRY_ASSIGN(WireAnswer answer, caller_.Call(request, stop));
    if (answer.head.status == 204) return std::optional<FoundEntry>();
    Json body = BodyOf(answer);
    if (answer.head.status != 200) return Refusal(request.what, answer);
    if (body.GetString("archiveLocation").empty()) return std::optional<FoundEntry>();
    return std::optional<FoundEntry>({body.GetString("cacheKey"), version, body.GetString("archiveLocation")});
  }

  Result<std::optional<Reservation>> Reserve(const std::string& key, const std::string& version, uint64_t size,
                                             std::stop_token stop) override {
    WireRequest request = For("reserve " + key, "POST", "caches");
    SetJson(request, Json().Set("key", key).Set("version", version).Set("cacheSize", size));
    TRY_ASSIGN(WireAnswer answer, caller_.Call(request, stop));
    if (SaysItExists(answer)) return std::optional<Reservation>();
    Json body = BodyOf(answer);
    int64_t id = body.GetInt("cacheId", body.GetInt("cacheID"));
    if (answer.head.status / 100 != 2 || id == 0) return Refusal(request.what, answer);
    return std::optional<Reservation>({.id = id});
  }

  Status Upload(const Reservation& to, const std::string& key, uint64_t size, const OpenRange& open,
                std::stop_token stop) override {
    uint64_t part = options_.upload_part;
    return ParallelFor((size + part - 1) / part, options_.upload_threads, [&](size_t i) -> Status {
      uint64_t begin = i * part, length = std::min(part, size - begin);
      WireRequest request = For("upload " + key, "PATCH", fmt::format("caches/{}", to.id));
      request.request.headers.emplace_back("Content-Type", "application/octet-stream");
      request.request.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/*", begin, begin + length - 1));
      request.request.open_body = [&open, begin, length] { return open(begin, length); };
      request.request.body_size = length;
      TRY_ASSIGN(WireAnswer answer, caller_.Call(request, stop));
      if (answer.head.status / 100 != 2) return Refusal(request.what, answer);
      Counter("gha.bytes_out").Add(static_cast<int64_t>(length));
      return Ok();
    });
  }

  Status Commit(const Reservation& to, const std::string& key, const std::string&, uint64_t size,
                std::stop_token stop) override {
    WireRequest request = For("commit " + key, "POST", fmt::format("caches/{}", to.id));
    SetJson(request, Json().Set("size", size));
    TRY_ASSIGN(WireAnswer answer, caller_.Call(request, stop));
    if (answer.head.status / 100 != 2) return Refusal(request.what, answer);
    return Ok();
  }

 private:
  WireRequest For(std::string what, const char* method, const std::string& resource) const {
    WireRequest request{.what = std::move(what)};
    request.request.method = method;
    request.request.url = address_.url + "/_apis/artifactcache/" + resource;
    request.request.headers = {{"Authorization", "Bearer " + address_.token},
                               {"Accept", "application/json;api-version=6.0-preview.1"}};
    return request;
  }
  static void SetJson(WireRequest& request, const Json& json) {
    request.request.headers.emplace_back("Content-Type", "application/json");
    request.request.body = json.Dump();
  }
};

}  // namespace

std::unique_ptr<Wire> MakeWireV1(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper,
                                 const Client::Options& options) {
  return std::make_unique<WireV1>(http, std::move(address), clock, sleeper, options);
}

}  // namespace varve::gha
