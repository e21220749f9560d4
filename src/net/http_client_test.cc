#include "net/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/thread_pool.h"
#include "net/testing/http_server.h"

namespace varve::net {
namespace {

using ::testing::HasSubstr;
using testing::HttpServer;
using testing::ServerReply;
using testing::ServerRequest;

constexpr uint64_t kLimit = 1 << 20;

ServerReply Echo(const ServerRequest& request) {
  ServerReply reply;
  reply.body = request.method + " " + request.target + " " + request.body;
  for (const auto& [name, value] : request.headers) reply.body += "\n" + name + ": " + value;
  return reply;
}

ServerReply RedirectTo(const std::string& location, int status) {
  return {.status = status, .headers = {{"Location", location}}, .body = "moved"};
}

TEST(HttpClient, GetsStatusHeadersAndBody) {
  HttpServer server([](const ServerRequest&) {
    return ServerReply{.status = 404, .headers = {{"X-Thing", " a "}, {"x-thing", "b"}}, .body = "nope"};
  });
  HttpClient http;
  auto reply = http.Fetch({.url = server.Url("/x")}, kLimit, {});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->head.status, 404);
  EXPECT_EQ(reply->head.Header("X-THING"), "a");
  EXPECT_EQ(reply->head.AllHeaders("x-thing").size(), 2u);
  EXPECT_EQ(reply->body, "nope");
}

TEST(HttpClient, SendsHeadersBodyAndItsName) {
  HttpServer server(Echo);
  HttpClient http;
  auto reply = http.Fetch(
      {.method = "POST", .url = server.Url("/x?a=b"), .headers = {{"X-One", "1"}, {"X-Empty", ""}}, .body = "payload"},
      kLimit, {});
  ASSERT_TRUE(reply);
  EXPECT_THAT(reply->body, HasSubstr("POST /x?a=b payload\n"));
  EXPECT_THAT(reply->body, HasSubstr("\nx-one: 1"));
  EXPECT_THAT(reply->body, HasSubstr("\nx-empty: \n"));
  EXPECT_THAT(reply->body, HasSubstr("user-agent: varve/"));
  EXPECT_THAT(reply->body, HasSubstr("content-length: 7"));
  EXPECT_THAT(reply->body, ::testing::Not(HasSubstr("expect:")));
}

TEST(HttpClient, AnEmptyPostHasALength) {
  HttpServer server(Echo);
  HttpClient http;
  auto reply = http.Fetch({.method = "POST", .url = server.Url("/")}, kLimit, {});
  EXPECT_THAT(reply->body, HasSubstr("content-length: 0"));
}

TEST(HttpClient, HeadHasNoBody) {
  HttpServer server([](const ServerRequest&) { return ServerReply{.headers = {{"Content-Length", "1000000"}}}; });
  HttpClient http;
  auto reply = http.Fetch({.method = "HEAD", .url = server.Url("/")}, kLimit, {});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->head.Header("Content-Length"), "1000000");
  EXPECT_EQ(reply->body, "");
}

TEST(HttpClient, ConnectionsAreReused) {
  HttpServer server(Echo);
  HttpClient http;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(http.Fetch({.url = server.Url("/")}, kLimit, {}));
    ASSERT_TRUE(http.Fetch({.method = "PUT", .url = server.Url("/"), .body = "x"}, kLimit, {}));
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, ManyThreadsShareOneClient) {
  HttpServer server(Echo);
  HttpClient http;
  Status status = ParallelFor(200, 8, [&](size_t i) -> Status {
    std::string body(i * 100, 'x');
    TRY_ASSIGN(Reply reply, http.Fetch({.method = "PUT", .url = server.Url("/"), .body = body}, kLimit, {}));
    if (!reply.body.starts_with("PUT / " + body + "\n")) return Internal("mixed up");
    return Ok();
  });
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_LE(server.connections(), 16);
}

TEST(HttpClient, StreamsALargeBodyBothWays) {
  std::string large(5 << 20, 'z');
  HttpServer server(
      [&](const ServerRequest& request) { return ServerReply{.body = request.body == large ? large : "different"}; });
  HttpClient http;
  StringWriter out;
  Request request{.method = "PUT", .url = server.Url("/"), .body_size = large.size()};
  request.open_body = [&]() -> Result<std::unique_ptr<Reader>> { return std::make_unique<StringReader>(large); };
  int asked = 0;
  auto sink = [&](const Response& head) -> Result<Writer*> {
    EXPECT_EQ(head.status, 200);
    ++asked;
    return &out;
  };
  ASSERT_TRUE(http.Send(request, sink, {}));
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(out.text, large);
}

TEST(HttpClient, ErrorsOfReaderAndWriterComeThrough) {
  HttpServer server(Echo);
  HttpClient http;
  Request request{.method = "PUT", .url = server.Url("/"), .body_size = 10};
  request.open_body = []() -> Result<std::unique_ptr<Reader>> { return NotFound("no such file"); };
  EXPECT_EQ(http.Fetch(request, kLimit, {}).error().message, "no such file");
  class FullDisk final : public Writer {
    Status Write(std::string_view) override { return Resource("disk is full"); }
  } full;
  auto sink = [&](const Response&) -> Result<Writer*> { return &full; };
  EXPECT_EQ(http.Send({.url = server.Url("/")}, sink, {}).error().code, Code::kResource);
  auto refuse = [](const Response&) -> Result<Writer*> { return Corrupt("not this"); };
  EXPECT_EQ(http.Send({.url = server.Url("/")}, refuse, {}).error().message, "not this");
}

TEST(HttpClient, AnswersBeyondTheLimitAreRefused) {
  HttpServer server([](const ServerRequest&) { return ServerReply{.body = std::string(100, 'x')}; });
  HttpClient http;
  EXPECT_TRUE(http.Fetch({.url = server.Url("/")}, 100, {}));
  EXPECT_EQ(http.Fetch({.url = server.Url("/")}, 99, {}).error().code, Code::kInvalid);
}

TEST(HttpClient, ACutBodyIsAnErrorAndItsStartIsDelivered) {
  HttpServer server([](const ServerRequest&) { return ServerReply{.body = std::string(1000, 'x'), .cut_after = 400}; });
  HttpClient http;
  StringWriter out;
  auto result = http.Send({.url = server.Url("/")}, [&](const Response&) -> Result<Writer*> { return &out; }, {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kUnavailable);
  EXPECT_EQ(out.text.size(), 400u);
}

TEST(HttpClient, NobodyListeningIsUnavailable) {
  HttpServer server(Echo);
  std::string url = server.Url("/");
  server.Stop();
  HttpClient http;
  auto result = http.Fetch({.url = url}, kLimit, {});
  EXPECT_EQ(result.error().code, Code::kUnavailable);
  EXPECT_THAT(result.error().message, HasSubstr(server.Address()));
}

TEST(HttpClient, AStalledServerIsGivenUp) {
  HttpServer server([](const ServerRequest&) { return ServerReply{.body = std::string(1000, 'x'), .hang_after = 10}; });
  HttpClient http;
  auto result = http.Fetch({.url = server.Url("/"), .timeouts = {.stall = std::chrono::milliseconds(50)}}, kLimit, {});
  EXPECT_EQ(result.error().code, Code::kUnavailable);
  EXPECT_THAT(result.error().message, HasSubstr("sent nothing within"));
}

TEST(HttpClient, AStopEndsARequestAtOnce) {
  std::stop_source stop;
  HttpServer server([&](const ServerRequest&) {
    stop.request_stop();
    return ServerReply{.delay = std::chrono::hours(1)};
  });
  HttpClient http;
  auto result = http.Fetch({.url = server.Url("/")}, kLimit, stop.get_token());
  EXPECT_EQ(result.error().code, Code::kCancelled);
  EXPECT_EQ(http.Fetch({.url = server.Url("/")}, kLimit, stop.get_token()).error().code, Code::kCancelled);
}

TEST(HttpClient, FollowsRedirectsOfReads) {
  HttpServer server([](const ServerRequest& request) {
    if (request.path == "/1") return RedirectTo("/a/2?x=1", 301);
    if (request.path == "/a/2") return RedirectTo("3", 307);
    return Echo(request);
  });
  HttpClient http;
  auto reply = http.Fetch({.url = server.Url("/1")}, kLimit, {});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_THAT(reply->body, HasSubstr("GET /a/3 "));
  EXPECT_EQ(reply->head.url, server.Url("/a/3"));
  auto first = http.Fetch({.url = server.Url("/1"), .follow_redirects = false}, kLimit, {});
  EXPECT_EQ(first->head.status, 301);
  EXPECT_EQ(first->body, "moved");
}

TEST(HttpClient, AWriteIsRepeatedOnlyWhereTheStatusSaysSo) {
  HttpServer server([](const ServerRequest& request) {
    if (request.path == "/keep") return RedirectTo("/to", 307);
    if (request.path == "/see") return RedirectTo("/to", 303);
    return Echo(request);
  });
  HttpClient http;
  auto kept = http.Fetch({.method = "POST", .url = server.Url("/keep"), .body = "b"}, kLimit, {});
  EXPECT_THAT(kept->body, HasSubstr("POST /to b"));
  auto seen = http.Fetch({.method = "POST", .url = server.Url("/see"), .body = "b"}, kLimit, {});
  EXPECT_THAT(seen->body, HasSubstr("GET /to \n"));
}

TEST(HttpClient, AuthorizationStaysWithItsHost) {
  HttpServer other(Echo);
  HttpServer server([&](const ServerRequest& request) {
    if (request.path == "/away") return RedirectTo(other.Url("/to"), 307);
    if (request.path == "/here") return RedirectTo("/to", 307);
    return Echo(request);
  });
  HttpClient http;
  Headers headers{{"authorization", "Bearer secret"}, {"Accept", "text/x"}};
  auto away = http.Fetch({.url = server.Url("/away"), .headers = headers}, kLimit, {});
  EXPECT_THAT(away->body, ::testing::Not(HasSubstr("secret")));
  EXPECT_THAT(away->body, HasSubstr("text/x"));
  auto here = http.Fetch({.url = server.Url("/here"), .headers = headers}, kLimit, {});
  EXPECT_THAT(here->body, HasSubstr("Bearer secret"));
}

TEST(HttpClient, CirclesOfRedirectsEnd) {
  HttpServer server([](const ServerRequest&) { return RedirectTo("/", 302); });
  HttpClient http;
  EXPECT_THAT(http.Fetch({.url = server.Url("/")}, kLimit, {}).error().message,
              HasSubstr("redirects more than 10 times"));
}

TEST(HttpClient, HeadersWithLineBreaksAreRefused) {
  HttpServer server(Echo);
  HttpClient http;
  auto result = http.Fetch({.url = server.Url("/"), .headers = {{"A", "b\r\nC: d"}}}, kLimit, {});
  EXPECT_EQ(result.error().code, Code::kInvalid);
}

TEST(HttpClient, EndlessHeadersAreRefused) {
  HttpServer server([](const ServerRequest&) {
    ServerReply reply;
    for (int i = 0; i < 300; ++i) reply.headers.emplace_back("X-Fill", std::string(1000, 'x'));
    return reply;
  });
  HttpClient http;
  EXPECT_EQ(http.Fetch({.url = server.Url("/")}, kLimit, {}).error().code, Code::kUnavailable);
}

TEST(HttpClient, LoopbackIsNeverAskedThroughAProxy) {
  HttpServer server(Echo);
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  HttpClient http;
  EXPECT_TRUE(http.Fetch({.url = server.Url("/")}, kLimit, {}));
  unsetenv("http_proxy");
}

TEST(HttpClient, OtherHostsAreAskedThroughTheProxyOfTheEnvironment) {
  HttpServer proxy(Echo);
  setenv("http_proxy", proxy.Url("").c_str(), 1);
  HttpClient http;
  auto reply = http.Fetch({.url = "http://registry.invalid/x"}, kLimit, {});
  unsetenv("http_proxy");
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_THAT(reply->body, HasSubstr("GET http://registry.invalid/x"));
}

}  // namespace
}  // namespace varve::net
