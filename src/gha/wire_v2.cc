#include "base/hex.h"
#include "base/metric.h"
#include "gha/wire.h"
#include "net/url.h"

namespace varve::gha {

namespace {

// Azure: all block ids of a blob have the same length, at most 64 bytes before base64.
std::string BlockId(size_t number) { return Base64Encode(fmt::format("varve-block-{:08}", number)); }

class WireV2 final : public Wire {
 public:
  WireV2(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper,
         const Client::Options& options)
      : Wire(http, std::move(address), clock, sleeper, options) {}

  Result<std::optional<FoundEntry>> Find(const std::vector<std::string>& keys, const std::string& version,
                                         std::stop_token stop) override {
    // The first key is matched as it is; to match its beginning it has to be a restore key as well.
    Json body;
    body.Set("key", keys[0]).Set("restore_keys", Json::Strings(keys)).Set("version", version);
    std::string what = "look up " + keys[0];
    TRY_ASSIGN(WireAnswer answer, Ask(what, "GetCacheEntryDownloadURL", body, stop));
    if (answer.head.status != 200) return Refusal(what, answer);
    Json found = BodyOf(answer);
    if (!found.GetBool("ok")) return std::optional<FoundEntry>();
    return std::optional<FoundEntry>({found.GetString("matched_key"), version, found.GetString("signed_download_url")});
  }

  Result<std::optional<Reservation>> Reserve(const std::string& key, const std::string& version, uint64_t,
                                             std::stop_token stop) override {
    std::string what = "reserve " + key;
    TRY_ASSIGN(WireAnswer answer, Ask(what, "CreateCacheEntry", Json().Set("key", key).Set("version", version), stop));
    if (SaysItExists(answer)) return std::optional<Reservation>();
    Json body = BodyOf(answer);
    std::string url = body.GetString("signed_upload_url");
    if (answer.head.status != 200 || !body.GetBool("ok") || url.empty()) return Refusal(what, answer);
    return std::optional<Reservation>({.url = url});
  }

  Status Upload(const Reservation& to, const std::string& key, uint64_t size, const OpenRange& open,
                std::stop_token stop) override {
    uint64_t part = options_.upload_part;
    if (size <= part) return Put(to.url, key, "", 0, size, open, stop);
    size_t count = (size + part - 1) / part;
    TRY(ParallelFor(count, options_.upload_threads, [&](size_t i) -> Status {
      return Put(to.url, key, "&comp=block&blockid=" + net::PercentEncode(BlockId(i)), i * part,
                 std::min(part, size - i * part), open, stop);
    }));
    std::string list = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>";
    for (size_t i = 0; i < count; ++i) list += "<Latest>" + BlockId(i) + "</Latest>";
    list += "</BlockList>";
    return Put(
        to.url, key, "&comp=blocklist", 0, list.size(),
        [&](uint64_t, uint64_t) { return Result<std::unique_ptr<Reader>>(std::make_unique<StringReader>(list)); },
        stop);
  }

  Status Commit(const Reservation&, const std::string& key, const std::string& version, uint64_t size,
                std::stop_token stop) override {
    Json body;
    body.Set("key", key).Set("size_bytes", std::to_string(size)).Set("version", version);  // int64: text in proto JSON
    std::string what = "commit " + key;
    TRY_ASSIGN(WireAnswer answer, Ask(what, "FinalizeCacheEntryUpload", body, stop));
    if (answer.head.status != 200 || !BodyOf(answer).GetBool("ok")) return Refusal(what, answer);
    return Ok();
  }

 private:
  Result<WireAnswer> Ask(const std::string& what, const char* method, const Json& body, std::stop_token stop) {
    WireRequest request{.what = what};
    request.request.method = "POST";
    request.request.url = address_.url + "/twirp/github.actions.results.api.v1.CacheService/" + method;
    request.request.headers = {{"Authorization", "Bearer " + address_.token}, {"Content-Type", "application/json"}};
    request.request.body = body.Dump();
    return caller_.Call(std::move(request), stop);
  }

  // Azure's Put Blob, Put Block and Put Block List: the address is all the authority there is.
  Status Put(const std::string& url, const std::string& key, const std::string& query, uint64_t offset, uint64_t size,
             const OpenRange& open, std::stop_token stop) {
    WireRequest request{.what = "upload " + key};
    request.request.method = "PUT";
    request.request.url = url + query;
    request.request.headers = {{"Content-Type", "application/octet-stream"}, {"x-ms-version", "2020-10-02"}};
    if (query.empty()) request.request.headers.emplace_back("x-ms-blob-type", "BlockBlob");
    request.request.open_body = [&open, offset, size] { return open(offset, size); };
    request.request.body_size = size;
    TRY_ASSIGN(WireAnswer answer, caller_.Call(request, stop));
    if (answer.head.status != 201) return Refusal(request.what, answer);
    Counter("gha.bytes_out").Add(static_cast<int64_t>(size));
    return Ok();
  }
};

}  // namespace

std::unique_ptr<Wire> MakeWireV2(net::HttpClient& http, ServiceAddress address, Clock& clock, net::Sleeper& sleeper,
                                 const Client::Options& options) {
  return std::make_unique<WireV2>(http, std::move(address), clock, sleeper, options);
}

}  // namespace varve::gha
