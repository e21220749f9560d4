// The client against a server with a script, for what a service does when it is in trouble. Where all is
// well: gha_server/client_contract_test.cc, against the service itself.
#include "gha/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "net/testing/http_server.h"

namespace varve::gha {
namespace {

using net::testing::HttpServer;
using net::testing::ServerReply;
using net::testing::ServerRequest;
using ::testing::HasSubstr;

OpenRange Bytes(const std::string& bytes) {
  return [&bytes](uint64_t offset, uint64_t size) -> Result<std::unique_ptr<Reader>> {
    return std::make_unique<StringReader>(std::string_view(bytes).substr(offset, size));
  };
}

// Time passes by being slept through; a clock for the deadlines of who sleeps, too.
class RecordingSleeper final : public net::Sleeper, public Clock {
 public:
  bool Sleep(Nanos time, std::stop_token stop) override {
    clock_.Advance(time);
    total_ += time.count();
    return !stop.stop_requested();
  }
  Timestamp Now() override { return clock_.Now(); }
  Nanos Monotonic() override { return clock_.Monotonic(); }
  Nanos total() const { return Nanos(total_.load()); }

 private:
  FakeClock clock_;
  std::atomic<int64_t> total_ = 0;
};

struct Scripted {
  explicit Scripted(HttpServer::Handler handler, Client::Options options = {}) : server(std::move(handler)) {
    options.retry.attempts = 3;
    client =
        std::make_unique<Client>(http, ServiceAddress{Protocol::kV2, server.Url(""), "t"}, sleeper, sleeper, options);
  }
  HttpServer server;
  RecordingSleeper sleeper;
  net::HttpClient http;
  std::unique_ptr<Client> client;
};

const ServerReply kMiss = {.body = R"({"ok":false})"};

TEST(Client, ATooBusyServiceIsWaitedForAsLongAsItSays) {
  std::atomic<int> asked = 0;
  Scripted s([&](const ServerRequest&) {
    return ++asked <= 5 ? ServerReply{.status = 429, .headers = {{"Retry-After", "40"}}} : kMiss;
  });
  auto found = s.client->Find({"k"}, "v", {});
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(*found);
  EXPECT_EQ(asked, 6);  // more often than a failing service would be asked
  EXPECT_EQ(s.sleeper.total(), std::chrono::seconds(200));
}

TEST(Client, APauseBeyondTheDeadlineIsNotWaitedFor) {
  Scripted s([](const ServerRequest&) { return ServerReply{.status = 429, .headers = {{"Retry-After", "700"}}}; });
  auto found = s.client->Find({"k"}, "v", {});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::kUnavailable);
  EXPECT_THAT(found.error().message, HasSubstr("429"));
  EXPECT_EQ(s.sleeper.total(), Nanos(0));
}

TEST(Client, AFailingServiceIsAskedAgainAFewTimes) {
  std::atomic<int> asked = 0;
  Scripted s([&](const ServerRequest&) {
    ++asked;
    return ServerReply{.status = 503, .body = "\xEF\xBB\xBF{\"code\":\"unavailable\",\"msg\":\"try later\"}"};
  });
  auto found = s.client->Find({"k"}, "v", {});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message, "cannot look up k: the cache service answers 503: try later");
  EXPECT_EQ(asked, 3);
}

TEST(Client, ABrokenConnectionIsTriedAgain) {
  std::atomic<int> asked = 0;
  Scripted s([&](const ServerRequest&) {
    ServerReply reply = kMiss;
    if (++asked < 3) reply.cut_after = 2;
    return reply;
  });
  EXPECT_TRUE(s.client->Find({"k"}, "v", {}));
  EXPECT_EQ(asked, 3);
}

TEST(Client, NonsenseIsAMissOrAnErrorButNeverACrash) {
  for (std::string body : {"", "[]", "{", "null", "{\"ok\":1}", "<html>", "{\"ok\":true}"}) {
    Scripted s([&](const ServerRequest&) { return ServerReply{.body = body}; });
    EXPECT_FALSE(s.client->Save("k", "v", 1, Bytes("a"), {})) << body;
    auto found = s.client->Find({"k"}, "v", {});
    if (found && *found) {
      StringWriter out;
      EXPECT_FALSE(s.client->Read(**found, 0, 1, out, {}));
    }
  }
}

TEST(Client, AnAnswerThatIsNotTheRangeIsRefused) {
  Scripted s([](const ServerRequest& request) {
    if (request.method == "GET") return ServerReply{.body = "whole"};
    return kMiss;
  });
  FoundEntry entry{.key = "k", .version = "v", .url = s.server.Url("/blob")};
  StringWriter out;
  EXPECT_TRUE(s.client->Read(entry, 0, 5, out, {}));
  EXPECT_EQ(s.client->Read(entry, 1, 5, out, {}).error().code, Code::kUnavailable);
  EXPECT_EQ(out.text, "whole");
}

TEST(Client, ACommitWhoseAnswerIsLostCounts) {
  std::atomic<bool> committed = false;
  HttpServer* server = nullptr;
  Scripted s([&](const ServerRequest& request) {
    if (request.path.ends_with("/CreateCacheEntry")) {
      return ServerReply{.body = R"({"ok":true,"signed_upload_url":")" + server->Url("/blob?sig=x") + "\"}"};
    }
    if (request.method == "PUT") return ServerReply{.status = 201};
    if (request.path.ends_with("/FinalizeCacheEntryUpload")) {
      if (committed) return ServerReply{.status = 404, .body = R"({"code":"not_found"})"};
      committed = true;
      ServerReply lost{.body = R"({"ok":true,"entry_id":"1"})"};
      lost.cut_after = 3;
      return lost;
    }
    return committed ? ServerReply{.body = R"({"ok":true,"matched_key":"k","signed_download_url":"http://x/"})"}
                     : kMiss;
  });
  server = &s.server;
  auto saved = s.client->Save("k", "v", 1, Bytes("a"), {});
  ASSERT_TRUE(saved) << saved.error().message;
  EXPECT_TRUE(*saved);
}

TEST(Client, IsCancelledWhileItWaits) {
  std::stop_source stop;
  Scripted s([&](const ServerRequest&) {
    stop.request_stop();
    return ServerReply{.status = 503};
  });
  EXPECT_EQ(s.client->Find({"k"}, "v", stop.get_token()).error().code, Code::kCancelled);
}

}  // namespace
}  // namespace varve::gha
