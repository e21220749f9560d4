// What stores do when servers and connections fail: at every request, and in the ways that S3 has.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/thread_pool.h"
#include "net/testing/certificate.h"
#include "objects/http_store.h"
#include "objects/s3_store.h"
#include "objects/testing/fake_bucket.h"

namespace varve::objects {
namespace {

using net::testing::ServerReply;
using net::testing::ServerRequest;
using testing::BucketOptions;
using testing::FakeBucket;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::S3Refusal;

class NoSleep final : public net::Sleeper {
 public:
  bool Sleep(Nanos time, std::stop_token stop) override {
    slept_.Lock()->push_back(time);
    return !stop.stop_requested();
  }
  std::vector<Nanos> slept() { return *slept_.Lock(); }

 private:
  Guarded<std::vector<Nanos>> slept_;
};

struct World {
  explicit World(BucketOptions options = {}) : server(options) {}
  std::unique_ptr<S3Store> S3(S3Options options = {}) {
    options.bucket = "cache";
    if (options.region.empty()) options.region = "eu-west-9";
    options.endpoint_url = server.Url();
    options.keys = {"ID", "secret", options.keys.session_token};
    options.part_size = 1000;
    options.timeouts.stall = std::chrono::milliseconds(500);
    return *S3Store::Open(
        options, http, [](const std::string&) { return std::string(); }, SystemClock(), sleeper);
  }
  std::unique_ptr<HttpStore> Http(HttpOptions options = {}) {
    options.url = server.Url("/cache");
    options.timeouts.stall = std::chrono::milliseconds(500);
    return *HttpStore::Open(options, http, SystemClock(), sleeper);
  }
  FakeBucket server;
  net::HttpClient http;
  NoSleep sleeper;
};

std::string Large() {
  std::string text;
  for (int i = 0; text.size() < 4500; ++i) text += std::to_string(i) + ",";
  return text;
}

// Every operation once; the last word is what it read.
Result<std::string> Everything(ObjectStore& store, bool lists) {
  TRY(store.Put("small", BodyOf("hello"), {}));
  TRY(store.Put("large", BodyOf(Large()), {}));
  TRY_ASSIGN(auto head, store.Head("small", {}));
  TRY_ASSIGN(auto small, GetString(store, "small", 100, {}));
  TRY_ASSIGN(auto large, GetString(store, "large", 10'000, {}));
  size_t listed = 2;
  if (lists) {
    TRY_ASSIGN(auto list, store.List("", {}));
    listed = list.size();
  }
  TRY(store.Delete({"small"}, {}));
  TRY_ASSIGN(auto gone, store.Head("small", {}));
  return fmt::format("{} {} {} {} {}", head ? head->size : 0, small.value_or("absent"), large == Large(), listed,
                     gone.has_value());
}

// The n-th request fails once, in each way, and the outcome is the same.
struct FaultKind {
  const char* name;
  FakeBucket::Instead (*instead)(int at);
  FakeBucket::Spoil (*spoil)(int at);
};
void PrintTo(const FaultKind& kind, std::ostream* out) { *out << kind.name; }

FakeBucket::Instead Nothing(int) { return {}; }
FakeBucket::Spoil Unspoilt(int) { return {}; }

template <int kStatus>
FakeBucket::Instead AnswerOnce(int at) {
  return [at](int n, const ServerRequest&) -> std::optional<ServerReply> {
    if (n != at) return {};
    return S3Refusal(kStatus, kStatus == 503 ? "SlowDown" : "InternalError");
  };
}
// It was done, and the connection closes in the body of the answer.
FakeBucket::Spoil CutOnce(int at) {
  return [at](int n, const ServerRequest& request, ServerReply& reply) {
    if (n != at || request.method == "HEAD") return;
    if (reply.body.empty()) reply.body = "lost", reply.status = 200;
    reply.cut_after = reply.body.size() / 2;
  };
}
// Before anything was done, the connection closes.
FakeBucket::Instead CutBefore(int at) {
  return [at](int n, const ServerRequest& request) -> std::optional<ServerReply> {
    if (n != at || request.method == "HEAD") return {};
    return ServerReply{.body = "lost", .cut_after = 0};
  };
}
FakeBucket::Spoil HangOnce(int at) {
  return [at](int n, const ServerRequest& request, ServerReply& reply) {
    if (n != at || request.method == "HEAD") return;
    if (reply.body.empty()) reply.body = "lost", reply.status = 200;
    reply.hang_after = reply.body.size() / 2;
  };
}

class EveryRequest : public ::testing::TestWithParam<FaultKind> {};

TEST_P(EveryRequest, MayFailOnceOverS3) {
  World counted;
  auto all_well = Everything(*counted.S3(), true);
  ASSERT_TRUE(all_well) << all_well.error().message;
  EXPECT_EQ(*all_well, "5 hello true 2 false");
  const int requests = counted.server.requests();
  ASSERT_GE(requests, 12);
  for (int at = 0; at < requests; ++at) {
    World world;
    world.server.SetFaults(GetParam().instead(at), GetParam().spoil(at));
    auto outcome = Everything(*world.S3(), true);
    ASSERT_TRUE(outcome) << "request " << at << ": " << outcome.error().message;
    EXPECT_EQ(*outcome, "5 hello true 2 false") << "request " << at;
    // An upload whose begin was carried out and whose answer was lost has an id that nobody knows:
    // a bucket's life-cycle rule is for those.
    EXPECT_LE(world.server.unfinished_uploads(), 1u);
  }
}

TEST_P(EveryRequest, MayFailOnceOverHttp) {
  World counted({.keys = {}});
  ASSERT_TRUE(Everything(*counted.Http(), false));
  const int requests = counted.server.requests();
  for (int at = 0; at < requests; ++at) {
    World world({.keys = {}});
    world.server.SetFaults(GetParam().instead(at), GetParam().spoil(at));
    auto outcome = Everything(*world.Http(), false);
    ASSERT_TRUE(outcome) << "request " << at << ": " << outcome.error().message;
    EXPECT_EQ(*outcome, "5 hello true 2 false") << "request " << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryRequest,
                         ::testing::Values(FaultKind{"Status500", AnswerOnce<500>, Unspoilt},
                                           FaultKind{"SlowDown", AnswerOnce<503>, Unspoilt},
                                           FaultKind{"TooMany", AnswerOnce<429>, Unspoilt},
                                           FaultKind{"CutBefore", CutBefore, Unspoilt},
                                           FaultKind{"CutAfter", Nothing, CutOnce},
                                           FaultKind{"Hang", Nothing, HangOnce}),
                         [](const auto& test) { return std::string(test.param.name); });

FakeBucket::Instead Always(ServerReply reply) {
  return [reply](int, const ServerRequest&) { return std::optional(reply); };
}

TEST(S3Faults, GiveUpAfterTheAttempts) {
  World world;
  world.server.SetFaults(Always(S3Refusal(503, "SlowDown", "reduce your rate")));
  StringWriter out;
  auto got = world.S3()->Get("k", {}, out, {});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_EQ(got.error().message, "GET s3://cache/k: 503 SlowDown: reduce your rate");
  EXPECT_EQ(world.server.requests(), 5);
  EXPECT_EQ(world.sleeper.slept().size(), 4u);
}

TEST(S3Faults, WaitAsLongAsTheServerAsks) {
  World world;
  world.server.SetFaults([](int n, const ServerRequest&) -> std::optional<ServerReply> {
    if (n > 0) return {};
    return ServerReply{.status = 429, .headers = {{"Retry-After", "7"}}};
  });
  ASSERT_TRUE(world.S3()->Put("k", BodyOf("x"), {}));
  ASSERT_EQ(world.sleeper.slept().size(), 1u);
  EXPECT_EQ(world.sleeper.slept()[0], std::chrono::seconds(7));
}

TEST(S3Faults, DeniedSaysTheServersCodeAndIsNotRepeated) {
  World world;
  world.server.SetFaults(Always(S3Refusal(403, "AccessDenied", "Access Denied")));
  Status put = world.S3()->Put("k", BodyOf("x"), {});
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, Code::kInvalid);
  EXPECT_EQ(put.error().message, "PUT s3://cache/k: denied: 403 AccessDenied: Access Denied");
  EXPECT_THAT(put.error().hint, HasSubstr("s3:PutObject"));
  EXPECT_EQ(world.server.requests(), 1);
}

TEST(S3Faults, AMissingBucketIsNoAbsentObject) {
  World world;
  world.server.SetFaults(Always(S3Refusal(404, "NoSuchBucket")));
  StringWriter out;
  auto got = world.S3()->Get("k", {}, out, {});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kInvalid);
  EXPECT_THAT(got.error().message, HasSubstr("NoSuchBucket"));
}

TEST(S3Faults, AWrongSecretIsSaidAndNotShown) {
  World world;
  world.server.SetKeys({"ID", "another", ""});
  Status put = world.S3()->Put("k", BodyOf("x"), {});
  ASSERT_FALSE(put);
  EXPECT_THAT(put.error().message, HasSubstr("SignatureDoesNotMatch"));
  EXPECT_THAT(put.error().ToString(), Not(HasSubstr("another")));
}

TEST(S3Faults, CorrectTheClockOnce) {
  for (int64_t ahead : {3600, -3600}) {
    World world({.clock_ahead = ahead});
    auto store = world.S3();
    auto outcome = Everything(*store, true);
    ASSERT_TRUE(outcome) << outcome.error().message;
    World exact;
    ASSERT_TRUE(Everything(*exact.S3(), true));
    EXPECT_EQ(world.server.requests(), exact.server.requests() + 1);
  }
}

TEST(S3Faults, CorrectTheClockAfterARefusedHead) {
  World world({.clock_ahead = 7200});
  world.server.PutObject("k", "hello");
  auto head = world.S3()->Head("k", {});
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_TRUE(*head);
}

TEST(S3Faults, FollowTheRegionThatARefusalNames) {
  World world;
  auto store = world.S3({.region = "us-east-1"});
  auto outcome = Everything(*store, true);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_THAT(world.server.log().at(1), HasSubstr("PUT /cache/small"));
}

TEST(S3Faults, AnExpiredTokenThatWasGivenIsAnError) {
  World world({.keys = AwsKeys{"ID", "secret", "new"}});
  Status put = world.S3({.keys = {"", "", "old"}})->Put("k", BodyOf("x"), {});
  ASSERT_FALSE(put);
  EXPECT_THAT(put.error().message, HasSubstr("ExpiredToken"));
  EXPECT_EQ(world.server.requests(), 1);
}

TEST(S3Faults, ATokenThatExpiresMidwayIsFetchedAgain) {
  World world({.keys = AwsKeys{"ID", "secret", "one"}});
  int fetched = 0;
  net::testing::HttpServer metadata([&](const ServerRequest&) {
    return ServerReply{.body = fmt::format(R"({{"AccessKeyId":"ID","SecretAccessKey":"secret","Token":"{}"}})",
                                           ++fetched == 1 ? "one" : "two")};
  });
  std::string url = metadata.Url("/role");
  auto store = *S3Store::Open(
      {.bucket = "cache", .region = "eu-west-9", .endpoint_url = world.server.Url()}, world.http,
      [&](const std::string& name) { return name == "AWS_CONTAINER_CREDENTIALS_FULL_URI" ? url : ""; }, SystemClock(),
      world.sleeper);
  ASSERT_TRUE(store->Put("k", BodyOf("x"), {}));
  world.server.SetKeys({"ID", "secret", "two"});
  Status put = store->Put("k", BodyOf("y"), {});
  ASSERT_TRUE(put) << put.error().message;
  auto head = store->Head("k", {});
  ASSERT_TRUE(head && *head);
  EXPECT_EQ(fetched, 2);
}

TEST(S3Faults, AFailedUploadLeavesNoParts) {
  World world;
  world.server.SetFaults([](int, const ServerRequest& request) -> std::optional<ServerReply> {
    if (request.Query("partNumber") != "3") return {};
    return S3Refusal(403, "AccessDenied");
  });
  Status put = world.S3()->Put("large", BodyOf(Large()), {});
  ASSERT_FALSE(put);
  EXPECT_THAT(put.error().message, HasSubstr("AccessDenied"));
  EXPECT_EQ(world.server.unfinished_uploads(), 0u);
  EXPECT_TRUE(world.server.Objects().empty());
}

TEST(S3Faults, ABodyThatFailsLeavesNoParts) {
  World world;
  Body body{.open = [] -> Result<std::unique_ptr<Reader>> { return std::make_unique<StringReader>("too short"); },
            .size = 4000};
  EXPECT_EQ(world.S3()->Put("large", body, {}).error().code, Code::kCorrupt);
  EXPECT_EQ(world.server.unfinished_uploads(), 0u);
  EXPECT_TRUE(world.server.Objects().empty());
}

TEST(S3Faults, AStoppedUploadLeavesNoParts) {
  World world;
  std::stop_source stop;
  world.server.SetFaults([&](int, const ServerRequest& request) -> std::optional<ServerReply> {
    if (request.Query("partNumber") == "2") stop.request_stop();
    return {};
  });
  Status put = world.S3()->Put("large", BodyOf(Large()), stop.get_token());
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, Code::kCancelled) << put.error().message;
  EXPECT_EQ(world.server.unfinished_uploads(), 0u);
}

TEST(S3Faults, AnErrorInsideAnAnswer200IsAnError) {
  World world;
  world.server.SetFaults([](int, const ServerRequest& request) -> std::optional<ServerReply> {
    if (request.method != "POST" || request.query.contains("uploads")) return {};
    return S3Refusal(200, "InternalError", "try again");
  });
  Status put = world.S3()->Put("large", BodyOf(Large()), {});
  ASSERT_FALSE(put);
  EXPECT_THAT(put.error().message, HasSubstr("InternalError"));
  EXPECT_EQ(world.server.unfinished_uploads(), 0u);
}

TEST(S3Faults, AnObjectThatIsAnErrorDocumentIsGivenAsItIs) {
  World world;
  const std::string document = "<Error><Code>SlowDown</Code></Error>";
  world.server.PutObject("k", document);
  EXPECT_EQ(GetString(*world.S3(), "k", 100, {}).value(), document);
}

TEST(S3Faults, NoTwoVersionsAreMixed) {
  World world;
  world.server.PutObject("k", Large());
  auto store = world.S3();
  // Replaced between the first and the second request.
  world.server.SetFaults(
      [&](int n, const ServerRequest&) -> std::optional<ServerReply> {
        if (n == 1) world.server.PutObject("k", std::string(Large().size(), 'x'));
        return {};
      },
      [](int n, const ServerRequest&, ServerReply& reply) {
        if (n == 0) reply.cut_after = 1000;
      });
  auto got = GetString(*store, "k", 10'000, {});
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("replaced while it was read"));
}

TEST(S3Faults, NonsenseIsCorrupt) {
  World world;
  world.server.SetFaults(Always({.body = "<html>hotel wifi</html>"}));
  auto listed = world.S3()->List("", {});
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code, Code::kCorrupt);
  EXPECT_EQ(world.S3()->Put("large", BodyOf(Large()), {}).error().code, Code::kCorrupt);
}

TEST(HttpFaults, DeniedIsNotRepeated) {
  World world({.keys = {}});
  for (int status : {401, 403, 405}) {
    world.server.SetFaults(Always({.status = status}));
    Status put = world.Http()->Put("k", BodyOf("x"), {});
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().code, Code::kInvalid);
    EXPECT_THAT(put.error().message, HasSubstr(std::to_string(status)));
    EXPECT_EQ(world.server.requests(), 1);
  }
}

TEST(HttpFaults, AServerThatNeverAnswersIsAskedThreeTimes) {
  World world({.keys = {}});
  auto store = world.Http();
  world.server.Stop();
  for (size_t call = 1; call <= 2; ++call) {
    auto head = store->Head("k", {});
    ASSERT_FALSE(head);
    EXPECT_EQ(head.error().code, Code::kUnavailable);
    EXPECT_EQ(world.sleeper.slept().size(), 2 * call);
  }
}

TEST(HttpFaults, AServerThatStopsAnsweringIsAskedAsOftenAsThePolicySays) {
  World world({.keys = {}});
  auto store = world.Http();
  ASSERT_TRUE(store->Put("k", BodyOf("x"), {}));
  world.server.Stop();
  ASSERT_FALSE(store->Head("k", {}));
  EXPECT_EQ(world.sleeper.slept().size(), 4u);
}

TEST(HttpFaults, HeadersOfTheirOwnAreSent) {
  World world({.keys = {}});
  std::string seen;
  world.server.SetFaults([&](int, const ServerRequest& request) -> std::optional<ServerReply> {
    seen = request.Header("x-key") + "," + request.Header("x-other");
    return {};
  });
  std::map<std::string, std::string> attributes = {{"url", "https://x"}, {"header", "X-Key: a b\nX-Other:c"}};
  ASSERT_TRUE(world.Http(*TakeHttpOptions(attributes))->Put("k", BodyOf("x"), {}));
  EXPECT_EQ(seen, "a b,c");
}

TEST(HttpFaults, CredentialsAreSentAndNotShown) {
  World world({.keys = {}});
  std::string seen;
  world.server.SetFaults([&](int, const ServerRequest& request) {
    seen = request.Header("authorization");
    return std::optional(ServerReply{.status = 403});
  });
  Status put = world.Http({.user = "u", .password = "hidden!"})->Put("k", BodyOf("x"), {});
  EXPECT_EQ(seen, "Basic dTpoaWRkZW4h");
  EXPECT_THAT(put.error().ToString(), Not(HasSubstr("hidden!")));
  EXPECT_FALSE(world.Http({.token = "tok"})->Put("k", BodyOf("x"), {}));
  EXPECT_EQ(seen, "Bearer tok");
}

// A proxy sees where a request would go.
TEST(S3Names, BucketsAreHostNamesOrPaths) {
  std::vector<std::string> seen;
  net::testing::HttpServer proxy([&](const ServerRequest& request) {
    seen.push_back(request.target + " at " + request.Header("host"));
    return ServerReply{};
  });
  setenv("http_proxy", proxy.Url("").c_str(), 1);
  net::HttpClient http;
  NoSleep sleeper;
  auto put = [&](const std::string& bucket, const std::string& endpoint, bool path_style) {
    auto store = S3Store::Open(
        {.bucket = bucket,
         .region = "r",
         .prefix = "p/",
         .endpoint_url = endpoint,
         .use_path_style = path_style,
         .keys = {"ID", "secret", ""}},
        http, [](const std::string&) { return std::string(); }, SystemClock(), sleeper);
    ASSERT_TRUE(store);
    Status status = (*store)->Put("k:1", BodyOf("x"), {});
    EXPECT_TRUE(status) << status.error().message;
  };
  put("cache", "http://s3.test", false);
  put("cache", "http://s3.test:9000/", true);
  put("has.dots", "http://s3.test/base", false);
  put("cache", "http://192.0.2.1:9000", false);
  unsetenv("http_proxy");
  EXPECT_THAT(seen, ::testing::ElementsAre("http://cache.s3.test/p/k%3A1 at cache.s3.test",
                                           "http://s3.test:9000/cache/p/k%3A1 at s3.test:9000",
                                           "http://s3.test/base/has.dots/p/k%3A1 at s3.test",
                                           "http://192.0.2.1:9000/cache/p/k%3A1 at 192.0.2.1:9000"));
}

TEST(S3Names, BadOnesAreRefused) {
  net::HttpClient http;
  NoSleep sleeper;
  for (S3Options options : {S3Options{.bucket = "a/b", .region = "r"}, S3Options{.bucket = "", .region = "r"},
                            S3Options{.bucket = "b", .region = "r.evil.example/"},
                            S3Options{.bucket = "b", .region = "r", .endpoint_url = "ftp://x"}}) {
    auto store = S3Store::Open(options, http, {}, SystemClock(), sleeper);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Code::kInvalid);
  }
}

TEST(HttpFaults, ACertificateNeedsItsAuthority) {
  const std::string folder = ::testing::TempDir() + "/tls-" + std::to_string(getpid());
  std::filesystem::create_directories(folder);
  auto certificates = net::testing::MakeCertificates(folder);
  net::testing::HttpServer server([](const ServerRequest&) { return ServerReply{.body = "hello"}; }, {},
                                  net::testing::ServerTls{certificates.certificate_file, certificates.key_file});
  net::HttpClient http;
  NoSleep sleeper;
  auto get = [&](net::Tls tls) {
    auto store = *HttpStore::Open({.url = server.Url("/x"), .tls = tls}, http, SystemClock(), sleeper);
    auto text = GetString(*store, "k", 100, {});
    return text ? text->value_or("absent") : std::string(CodeName(text.error().code));
  };
  EXPECT_EQ(get({}), "invalid");
  EXPECT_EQ(get({.ca = certificates.ca_file}), "hello");
  EXPECT_EQ(get({.insecure = true}), "hello");
  std::filesystem::remove_all(folder);
}

TEST(HttpFaults, AServerWithoutRangesIsReadFromTheStartAgain) {
  World world({.keys = {}, .ranges = false});
  world.server.PutObject("k", Large());
  world.server.SetFaults({}, [](int n, const ServerRequest&, ServerReply& reply) {
    if (n < 3) reply.cut_after = 1000 + n * 100;
  });
  EXPECT_EQ(GetString(*world.Http(), "k", 10'000, {}).value(), Large());
  StringWriter out;
  ASSERT_TRUE(world.Http()->Get("k", ByteRange{10, 5}, out, {}));
  EXPECT_EQ(out.text, Large().substr(10, 5));
}

}  // namespace
}  // namespace varve::objects
