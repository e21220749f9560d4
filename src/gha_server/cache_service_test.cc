#include "gha_server/cache_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "net/http_client.h"
#include "sys/tempdir.h"

namespace varve::gha_server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class CacheServiceTest : public ::testing::Test {
 protected:
  void Start(ServiceOptions options = {}, uint64_t max_size = 1'000'000) {
    store_ = std::move(*EntryStore::Open({.dir = dir_.path(), .max_size = max_size}, clock_));
    service_ = std::make_unique<CacheService>(*store_, credentials_, clock_, options);
    auto daemon =
        HttpDaemon::Start("127.0.0.1:0", [this](HttpRequest request) { return service_->Accept(std::move(request)); });
    ASSERT_TRUE(daemon) << daemon.error().message;
    daemon_ = std::move(*daemon);
  }
  std::string Token(const std::string& scopes) {
    return credentials_.IssueToken(*ParseScopes(scopes), std::chrono::hours(1));
  }
  net::Reply Ask(const std::string& method, const std::string& target, const std::string& body = "",
                 net::Headers headers = {}) {
    if (!target.starts_with("http") && !token_.empty()) headers.emplace_back("Authorization", "Bearer " + token_);
    std::string url = target.starts_with("http") ? target : "http://" + daemon_->Address() + target;
    auto reply = http_.Fetch({.method = method, .url = url, .headers = headers, .body = body}, 1 << 20, {});
    EXPECT_TRUE(reply) << reply.error().message;
    return reply ? *reply : net::Reply{};
  }
  net::Reply Twirp(const std::string& method, const Json& body) {
    return Ask("POST", "/twirp/github.actions.results.api.v1.CacheService/" + method, body.Dump(),
               {{"Content-Type", "application/json"}});
  }
  static Json Parsed(const net::Reply& reply) { return Json::Parse(reply.body).value_or(Json()); }
  static Json Name(const std::string& key) { return Json().Set("key", key).Set("version", "v"); }

  std::string UploadUrl(const std::string& key) {
    return Parsed(Twirp("CreateCacheEntry", Name(key))).GetString("signed_upload_url");
  }
  void Save(const std::string& key, const std::string& bytes) {
    EXPECT_EQ(Ask("PUT", UploadUrl(key), bytes, {{"x-ms-blob-type", "BlockBlob"}}).head.status, 201);
    auto done = Twirp("FinalizeCacheEntryUpload", Name(key).Set("size_bytes", std::to_string(bytes.size())));
    EXPECT_TRUE(Parsed(done).GetBool("ok")) << done.body;
  }
  std::string DownloadUrl(const std::string& key) {
    return Parsed(Twirp("GetCacheEntryDownloadURL", Name(key))).GetString("signed_download_url");
  }

  sys::TempDir dir_ = *sys::TempDir::Create(sys::TemporaryRoot(), "varve-service-");
  FakeClock clock_;
  Credentials credentials_{{.secret = "s"}, clock_};
  std::unique_ptr<EntryStore> store_;
  std::unique_ptr<CacheService> service_;
  std::unique_ptr<HttpDaemon> daemon_;
  net::HttpClient http_;
  std::string token_ = Token("refs/heads/topic:rw,refs/heads/main:r");
};

TEST_F(CacheServiceTest, Version1ReservesUploadsCommitsAndFinds) {
  Start();
  const std::string base = "/some/prefix/_apis/artifactcache/";
  EXPECT_EQ(Ask("GET", base + "cache?keys=k&version=v").head.status, 204);
  auto reserved = Ask("POST", base + "caches", Name("k").Dump());
  EXPECT_EQ(reserved.head.status, 201);
  std::string upload = base + "caches/" + std::to_string(Parsed(reserved).GetInt("cacheId"));
  EXPECT_EQ(Ask("PATCH", upload, "def", {{"Content-Range", "bytes 3-5/*"}}).head.status, 204);
  EXPECT_EQ(Ask("PATCH", upload, "abc", {{"Content-Range", "bytes 0-2/*"}}).head.status, 204);
  EXPECT_EQ(Ask("PATCH", upload, "ab", {{"Content-Range", "bytes 0-2/*"}}).head.status, 400);
  EXPECT_EQ(Ask("POST", upload, R"({"size":5})").head.status, 400);
  EXPECT_EQ(Ask("POST", upload, R"({"size":6})").head.status, 204);
  auto found = Parsed(Ask("GET", base + "cache?keys=x%2Ck&version=v"));
  EXPECT_EQ(found.GetString("cacheKey"), "k");
  EXPECT_EQ(found.GetString("scope"), "refs/heads/topic");
  EXPECT_EQ(Ask("GET", found.GetString("archiveLocation")).body, "abcdef");
  auto again = Ask("POST", base + "caches", Name("k").Dump());
  EXPECT_EQ(again.head.status, 409);
  EXPECT_EQ(Parsed(again).GetString("typeKey"), "ArtifactCacheItemAlreadyExistsException");
  auto list = Parsed(Ask("GET", base + "caches?key=k"));
  EXPECT_EQ(list.GetInt("totalCount"), 1);
}

TEST_F(CacheServiceTest, Version2MatchesTheFirstKeyExactlyAndRestoreKeysByPrefix) {
  Start();
  Save("k-1", "abc");
  EXPECT_EQ(DownloadUrl("k-"), "");
  auto found = Parsed(Twirp("GetCacheEntryDownloadURL", Name("k-2").Set("restore_keys", Json::Strings({"k-"}))));
  EXPECT_TRUE(found.GetBool("ok"));
  EXPECT_EQ(found.GetString("matched_key"), "k-1");
  auto camel = Parsed(Twirp("GetCacheEntryDownloadURL", Name("k-2").Set("restoreKeys", Json::Strings({"k-"}))));
  EXPECT_EQ(camel.GetString("matched_key"), "k-1");
  auto again = Twirp("CreateCacheEntry", Name("k-1"));
  EXPECT_EQ(again.head.status, 409);
  EXPECT_EQ(Parsed(again).GetString("code"), "already_exists");
}

TEST_F(CacheServiceTest, BlocksAreJoinedByTheirList) {
  Start();
  std::string url = UploadUrl("k");
  EXPECT_EQ(Ask("PUT", url + "&comp=block&blockid=QQ%3D%3D", "abc").head.status, 201);
  EXPECT_EQ(Ask("PUT", url + "&comp=block&blockid=Qg%3D%3D", "def").head.status, 201);
  EXPECT_EQ(Ask("PUT", url + "&comp=block&blockid=%21", "x").head.status, 400);
  auto unknown = Ask("PUT", url + "&comp=blocklist", "<BlockList><Latest>Qw==</Latest></BlockList>");
  EXPECT_EQ(unknown.head.status, 400);
  EXPECT_EQ(unknown.head.Header("x-ms-error-code"), "InvalidBlockList");
  auto joined = Ask("PUT", url + "&comp=blocklist",
                    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>\n  <Latest>Qg==</Latest>\n"
                    "  <Uncommitted>QQ==</Uncommitted></BlockList>");
  EXPECT_EQ(joined.head.status, 201);
  EXPECT_TRUE(Parsed(Twirp("FinalizeCacheEntryUpload", Name("k").Set("sizeBytes", 6))).GetBool("ok"));
  EXPECT_EQ(Ask("GET", DownloadUrl("k")).body, "defabc");
}

TEST_F(CacheServiceTest, EveryReplyOfTheBlobServiceHasAnIdOfItsOwn) {
  Start();
  std::string up = UploadUrl("k");
  auto refused = Ask("PUT", up + "&comp=lease", "");
  auto block = Ask("PUT", up + "&comp=block&blockid=QQ%3D%3D", "abc");
  auto list = Ask("PUT", up + "&comp=blocklist", "<BlockList><Latest>QQ==</Latest></BlockList>");
  Twirp("FinalizeCacheEntryUpload", Name("k").Set("sizeBytes", 3));
  auto got = Ask("GET", DownloadUrl("k"));
  EXPECT_EQ(got.body, "abc");
  std::set<std::string> ids;
  for (const net::Reply& reply : {refused, block, list, got}) {
    EXPECT_NE(reply.head.Header("x-ms-request-id"), "");
    ids.emplace(reply.head.Header("x-ms-request-id"));
  }
  EXPECT_EQ(ids.size(), 4u);
}

TEST_F(CacheServiceTest, RangesAreServed) {
  Start();
  Save("k", "0123456789");
  std::string url = DownloadUrl("k");
  auto middle = Ask("GET", url, "", {{"Range", "bytes=2-4"}});
  EXPECT_EQ(middle.head.status, 206);
  EXPECT_EQ(middle.body, "234");
  EXPECT_EQ(middle.head.Header("Content-Range"), "bytes 2-4/10");
  EXPECT_EQ(Ask("GET", url, "", {{"x-ms-range", "bytes=7-"}}).body, "789");
  EXPECT_EQ(Ask("GET", url, "", {{"Range", "bytes=-3"}}).body, "789");
  EXPECT_EQ(Ask("GET", url, "", {{"Range", "bytes=8-100"}}).body, "89");
  EXPECT_EQ(Ask("GET", url, "", {{"Range", "bytes=10-"}}).head.status, 416);
  auto head = Ask("HEAD", url);
  EXPECT_EQ(head.head.status, 200);
  EXPECT_EQ(head.head.Header("Content-Length"), "10");
  EXPECT_EQ(Ask("GET", url, "", {{"If-Match", "\"other\""}}).head.status, 412);
}

TEST_F(CacheServiceTest, ABranchReadsItsBaseButNotItsSiblings) {
  Start();
  token_ = Token("refs/heads/main:rw");
  Save("of-main", "m");
  token_ = Token("refs/heads/sibling:rw,refs/heads/main:r");
  Save("of-sibling", "s");
  token_ = Token("refs/heads/topic:rw,refs/heads/main:r");
  EXPECT_NE(DownloadUrl("of-main"), "");
  EXPECT_EQ(DownloadUrl("of-sibling"), "");
  Save("of-main", "t");  // the same key in another scope
  EXPECT_EQ(Ask("GET", DownloadUrl("of-main")).body, "t");
  token_ = Token("refs/heads/main:rw");
  EXPECT_EQ(Ask("GET", DownloadUrl("of-main")).body, "m");
}

TEST_F(CacheServiceTest, DeniedScopesAreSaidInTheWordsThatClientsLookFor) {
  Start();
  token_ = Token("refs/heads/main:r");
  auto create = Twirp("CreateCacheEntry", Name("k"));
  EXPECT_EQ(create.head.status, 200);
  EXPECT_THAT(Parsed(create).GetString("message"), StartsWith("cache write denied:"));
  auto reserve = Ask("POST", "/_apis/artifactcache/caches", Name("k").Dump());
  EXPECT_EQ(reserve.head.status, 403);
  EXPECT_THAT(Parsed(reserve).GetString("message"), StartsWith("cache write denied:"));
  token_ = Token("refs/heads/main:w");
  auto look_up = Twirp("GetCacheEntryDownloadURL", Name("k"));
  EXPECT_EQ(look_up.head.status, 403);
  EXPECT_THAT(Parsed(look_up).GetString("msg"), StartsWith("cache read denied:"));
  token_ = "";
  EXPECT_EQ(Twirp("GetCacheEntryDownloadURL", Name("k")).head.status, 401);
}

TEST_F(CacheServiceTest, AddressesAndTokensExpire) {
  Start({.upload_life = std::chrono::seconds(60), .download_life = std::chrono::seconds(60)});
  Save("k", "abc");
  std::string down = DownloadUrl("k"), up = UploadUrl("l");
  clock_.Advance(std::chrono::seconds(61));
  auto late = Ask("GET", down);
  EXPECT_EQ(late.head.status, 403);
  EXPECT_EQ(late.head.Header("x-ms-error-code"), "AuthenticationFailed");
  EXPECT_EQ(Ask("PUT", up, "x", {{"x-ms-blob-type", "BlockBlob"}}).head.status, 403);
  EXPECT_EQ(Ask("GET", DownloadUrl("k")).body, "abc");
  clock_.Advance(std::chrono::hours(1));
  EXPECT_EQ(Twirp("GetCacheEntryDownloadURL", Name("k")).head.status, 401);
}

TEST_F(CacheServiceTest, UploadsBeyondTheLimitWait) {
  Start({.uploads_per_minute = 2});
  EXPECT_EQ(Twirp("CreateCacheEntry", Name("a")).head.status, 200);
  clock_.Advance(std::chrono::seconds(20));
  EXPECT_EQ(Ask("POST", "/_apis/artifactcache/caches", Name("b").Dump()).head.status, 201);
  auto refused = Twirp("CreateCacheEntry", Name("c"));
  EXPECT_EQ(refused.head.status, 429);
  EXPECT_EQ(refused.head.Header("Retry-After"), "40");
  clock_.Advance(std::chrono::seconds(40));
  EXPECT_EQ(Twirp("CreateCacheEntry", Name("c")).head.status, 200);
}

TEST_F(CacheServiceTest, KeysHaveLimits) {
  Start();
  EXPECT_EQ(Twirp("CreateCacheEntry", Name(std::string(512, 'k'))).head.status, 200);
  auto longer = Twirp("CreateCacheEntry", Name(std::string(513, 'k')));
  EXPECT_EQ(longer.head.status, 400);
  EXPECT_THAT(longer.body, HasSubstr("longer than 512"));
  EXPECT_EQ(Twirp("CreateCacheEntry", Name("a,b")).head.status, 400);
  EXPECT_EQ(Twirp("CreateCacheEntry", Json().Set("key", "k")).head.status, 400);
  std::string many = "0";
  for (int i = 1; i < 11; ++i) many += "%2C" + std::to_string(i);
  EXPECT_EQ(Ask("GET", "/_apis/artifactcache/cache?version=v&keys=" + many).head.status, 400);
  EXPECT_EQ(Twirp("CreateCacheEntry", "not an object").head.status, 400);
}

TEST_F(CacheServiceTest, AnUploadThatBreaksOffLeavesNothing) {
  Start();
  std::string url = UploadUrl("k");
  net::Request request{.method = "PUT",
                       .url = url,
                       .headers = {{"x-ms-blob-type", "BlockBlob"}},
                       .body_size = 100,
                       .timeouts = {.stall = std::chrono::milliseconds(200)}};
  request.open_body = []() -> Result<std::unique_ptr<Reader>> { return std::make_unique<StringReader>("short"); };
  EXPECT_FALSE(http_.Fetch(request, 1 << 20, {}));
  EXPECT_EQ(Twirp("FinalizeCacheEntryUpload", Name("k").Set("size_bytes", "5")).head.status, 400);
  EXPECT_EQ(Ask("PUT", url, "whole", {{"x-ms-blob-type", "BlockBlob"}}).head.status, 201);
  EXPECT_EQ(Twirp("FinalizeCacheEntryUpload", Name("k").Set("size_bytes", "5")).head.status, 200);
}

TEST_F(CacheServiceTest, AnAddressThatIsTakenIsSaid) {
  Start();
  auto second = HttpDaemon::Start(daemon_->Address(), [](HttpRequest) { return nullptr; });
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("listen on 127.0.0.1"));
  EXPECT_FALSE(HttpDaemon::Start("localhost:1", [](HttpRequest) { return nullptr; }));
}

}  // namespace
}  // namespace varve::gha_server
