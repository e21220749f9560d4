#include "daemon/debug_server.h"

#include <gtest/gtest.h>

#include "net/http_client.h"

namespace varve::daemon {
namespace {

struct DebugServerTest : ::testing::Test {
  std::string unhealthy;
  std::unique_ptr<DebugServer> server =
      std::move(*DebugServer::Start("localhost:0", {.unhealthy = [this] { return unhealthy; },
                                                    .metrics = [] { return "a_metric 1\n"; },
                                                    .requests = [] { return "build-1\n"; }}));

  std::pair<int, std::string> Ask(const std::string& path, const std::string& method = "GET") {
    net::HttpClient http;
    auto reply = http.Fetch({.method = method, .url = "http://" + server->address() + path}, 1 << 20, {});
    if (!reply) return {0, reply.error().message};
    return {reply->head.status, reply->body};
  }
};

using Answer = std::pair<int, std::string>;

TEST_F(DebugServerTest, ServesItsPages) {
  EXPECT_EQ(Ask("/metrics"), Answer(200, "a_metric 1\n"));
  EXPECT_EQ(Ask("/debug/requests"), Answer(200, "build-1\n"));
  EXPECT_EQ(Ask("/debug/gc").first, 200);
}

TEST_F(DebugServerTest, HealthIsAskedForEachTime) {
  EXPECT_EQ(Ask("/healthz"), Answer(200, "ok\n"));
  unhealthy = "draining";
  EXPECT_EQ(Ask("/healthz"), Answer(503, "draining\n"));
}

TEST_F(DebugServerTest, AnythingElseIsNotFound) {
  EXPECT_EQ(Ask("/"),
            Answer(404, "there is nothing here; there are:\n/metrics\n/healthz\n/debug/requests\n/debug/gc\n"));
  EXPECT_EQ(Ask("/debug/pprof/heap").first, 404);
  EXPECT_EQ(Ask("/metrics", "POST").first, 405);
}

TEST_F(DebugServerTest, AWrongAddressSaysWhichFlag) {
  auto wrong = DebugServer::Start("moon", {});
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().ToString().find("--debugaddr"), std::string::npos) << wrong.error().ToString();
}

}  // namespace
}  // namespace varve::daemon
