#include <gmock/gmock.h>

#include "base/metric.h"
#include "base/thread_pool.h"
#include "registry/testing/client_fixture.h"

namespace varve::registry {
namespace {

using testing::FakeRegistry;
using ::testing::HasSubstr;

class FetchBlobTest : public testing::ClientTest {
 protected:
  Result<std::string> Fetch(Client& client, const std::string& repository, const oci::Descriptor& blob) {
    StringWriter out;
    TRY(client.FetchBlob(Ref(repository), blob, out, {}));
    return out.text;
  }
};

TEST_F(FetchBlobTest, BytesArriveAndAreCounted) {
  FakeRegistry server;
  std::string content = Content(300'000);
  server.AddBlob("app", content);
  int64_t bytes = Counter("registry.bytes_in").value();
  EXPECT_EQ(*Fetch(Use(), server.Address() + "/app", Blob(content)), content);
  EXPECT_EQ(Counter("registry.bytes_in").value() - bytes, 300'000);
}

TEST_F(FetchBlobTest, APartIsWhatWasAskedForAlsoWhereThereAreNoRanges) {
  for (bool ranges : {true, false}) {
    FakeRegistry server({.ranges = ranges});
    std::string content = Content(300'000);
    server.AddBlob("app", content);
    server.Fail({.pattern = "/blobs/", .times = 1, .status = 503});
    Client& client = Use();
    auto reference = Ref(server.Address() + "/app");
    EXPECT_EQ(*client.FetchBlobPart(reference, Blob(content), 1000, 5000, {}), content.substr(1000, 5000));
    EXPECT_EQ(*client.FetchBlobPart(reference, Blob(content), 299'000, 5000, {}), content.substr(299'000));
    EXPECT_EQ(*client.FetchBlobPart(reference, Blob(content), 300'000, 5000, {}), "");
    auto gone = client.FetchBlobPart(reference, Blob("other"), 0, 5, {});
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, Code::kNotFound);
  }
}

TEST_F(FetchBlobTest, ACutDownloadGoesOnWhereItBrokeOff) {
  FakeRegistry server;
  std::string content = Content(300'000);
  server.AddBlob("app", content);
  server.Fail({.pattern = "/blobs/", .times = 3, .cut_after = 70'000});
  int64_t bytes = Counter("registry.bytes_in").value();
  auto text = Fetch(Use(), server.Address() + "/app", Blob(content));
  ASSERT_TRUE(text) << text.error().ToString();
  EXPECT_EQ(*text, content);
  EXPECT_EQ(Counter("registry.bytes_in").value() - bytes, 300'000);
}

TEST_F(FetchBlobTest, ProgressForgivesEarlierFailures) {
  FakeRegistry server;
  std::string content = Content(200'000);
  server.AddBlob("app", content);
  server.Fail({.pattern = "/blobs/", .times = 19, .cut_after = 10'000});
  EXPECT_EQ(*Fetch(Use(), server.Address() + "/app", Blob(content)), content);
}

TEST_F(FetchBlobTest, AServerWithoutRangesSendsItAgain) {
  FakeRegistry server({.ranges = false});
  std::string content = Content(300'000);
  server.AddBlob("app", content);
  server.Fail({.pattern = "/blobs/", .times = 2, .cut_after = 70'000});
  EXPECT_EQ(*Fetch(Use(), server.Address() + "/app", Blob(content)), content);
}

TEST_F(FetchBlobTest, ARefusedRangeIsAskedForWhole) {
  FakeRegistry server;
  std::string content = Content(300'000);
  server.AddBlob("app", content);
  server.Fail({.pattern = "/blobs/", .times = 1, .cut_after = 70'000});
  server.Fail({.pattern = "/blobs/", .times = 1, .status = 416});
  EXPECT_EQ(*Fetch(Use(), server.Address() + "/app", Blob(content)), content);
}

TEST_F(FetchBlobTest, WrongBytesAreCorrupt) {
  FakeRegistry server;
  std::string content = Content(1000);
  server.AddBlob("app", content);
  server.Fail({.pattern = "/blobs/", .times = 1, .wrong_bytes = true});
  Client& client = Use();
  auto text = Fetch(client, server.Address() + "/app", Blob(content));
  EXPECT_EQ(text.error().code, Code::kCorrupt);
  EXPECT_THAT(text.error().message, HasSubstr("does not match its digest"));
  EXPECT_EQ(*Fetch(client, server.Address() + "/app", Blob(content)), content);
}

TEST_F(FetchBlobTest, TooManyAndTooFewBytesAreCorrupt) {
  FakeRegistry server;
  std::string content = Content(1000);
  server.AddBlob("app", content);
  oci::Descriptor blob = Blob(content);
  blob.size = 999;
  EXPECT_EQ(Fetch(Use(), server.Address() + "/app", blob).error().code, Code::kCorrupt);
  blob.size = 1001;
  EXPECT_EQ(Fetch(Use(), server.Address() + "/app", blob).error().code, Code::kCorrupt);
}

TEST_F(FetchBlobTest, AnEmptyBlobIsABlob) {
  FakeRegistry server;
  server.AddBlob("app", "");
  EXPECT_EQ(*Fetch(Use(), server.Address() + "/app", Blob("")), "");
}

TEST_F(FetchBlobTest, AnotherHostGoesOnWithTheRest) {
  FakeRegistry mirror, other;
  std::string content = Content(300'000);
  mirror.AddBlob("library/node", content);
  other.AddBlob("library/node", content);
  mirror.Fail({.pattern = "/blobs/", .times = 1, .cut_after = 70'000});
  mirror.Fail({.pattern = "/blobs/", .status = 500});
  Config config;
  config.Set("docker.io", {.mirrors = {{mirror.Url(""), other.Url("")}}});
  int64_t bytes = Counter("registry.bytes_in").value();
  EXPECT_EQ(*Fetch(Use(config), "node", Blob(content)), content);
  EXPECT_LT(Counter("registry.bytes_in").value() - bytes, 301'000);
}

TEST_F(FetchBlobTest, AfterWrongBytesTheOtherHostIsAskedFirst) {
  FakeRegistry bad, good;
  std::string content = Content(1000);
  bad.AddBlob("library/node", content);
  good.AddBlob("library/node", content);
  bad.Fail({.pattern = "/blobs/", .wrong_bytes = true});
  Config config;
  config.Set("docker.io", {.mirrors = {{bad.Url(""), good.Url("")}}});
  Client& client = Use(config);
  EXPECT_EQ(Fetch(client, "node", Blob(content)).error().code, Code::kCorrupt);
  EXPECT_EQ(*Fetch(client, "node", Blob(content)), content);
  EXPECT_EQ(bad.CountRequests("/blobs/"), 1);
}

TEST_F(FetchBlobTest, RedirectsLeadToTheStore) {
  FakeRegistry server({.bearer = "anonymous"});
  std::string content = Content(1000);
  server.AddBlob("app", content);
  std::string authorization = "none";
  net::testing::HttpServer store([&](const net::testing::ServerRequest& request) {
    authorization = request.Header("authorization");
    return net::testing::ServerReply{.body = content};
  });
  server.Fail({.pattern = "/blobs/", .redirect = store.Url("/x?signature=1")});
  EXPECT_EQ(*Fetch(Use(), server.Address() + "/app", Blob(content)), content);
  EXPECT_EQ(authorization, "");
}

TEST_F(FetchBlobTest, WhatTheWriterSaysIsTheError) {
  FakeRegistry server;
  std::string content = Content(1000);
  server.AddBlob("app", content);
  class Full final : public Writer {
    Status Write(std::string_view) override { return Resource("disk is full"); }
  } full;
  Status status = Use().FetchBlob(Ref(server.Address() + "/app"), Blob(content), full, {});
  EXPECT_EQ(status.error().message, "disk is full");
  EXPECT_EQ(server.CountRequests("GET"), 1);
}

TEST_F(FetchBlobTest, AMissingBlobIsNotFound) {
  FakeRegistry server;
  auto text = Fetch(Use(), server.Address() + "/app", Blob("x"));
  EXPECT_EQ(text.error().code, Code::kNotFound);
  EXPECT_THAT(text.error().message, HasSubstr(Digest::Of("x").ToString()));
}

TEST_F(FetchBlobTest, AStopEndsADownload) {
  FakeRegistry server;
  std::string content = Content(100'000);
  server.AddBlob("app", content);
  std::stop_source stop;
  class Stopping final : public Writer {
   public:
    explicit Stopping(std::stop_source& source) : source_(source) {}
    Status Write(std::string_view) override {
      source_.request_stop();
      return Ok();
    }
    std::stop_source& source_;
  } out(stop);
  server.Fail({.pattern = "/blobs/", .cut_after = 10});
  Status status = Use().FetchBlob(Ref(server.Address() + "/app"), Blob(content), out, stop.get_token());
  EXPECT_EQ(status.error().code, Code::kCancelled);
}

TEST_F(FetchBlobTest, ManyBlobsAtOnce) {
  FakeRegistry server;
  std::vector<std::string> contents;
  for (size_t i = 0; i < 24; ++i) {
    contents.push_back(Content(50'000 + i));
    server.AddBlob("app", contents.back());
  }
  server.Fail({.pattern = "/blobs/", .times = 8, .cut_after = 20'000});
  // Fewer than the attempts of one blob: one may meet them all.
  server.Fail({.pattern = "/blobs/", .times = 3, .status = 503});
  Client& client = Use();
  Status status = ParallelFor(contents.size(), 6, [&](size_t i) -> Status {
    TRY_ASSIGN(std::string text, Fetch(client, server.Address() + "/app", Blob(contents[i])));
    return text == contents[i] ? Ok() : Status(Internal("mixed up"));
  });
  EXPECT_TRUE(status) << status.error().ToString();
}

TEST_F(FetchBlobTest, SmallBlobsHaveALimitAndASecondTry) {
  FakeRegistry server;
  server.AddBlob("app", "config");
  Client& client = Use();
  oci::Reference ref = Ref(server.Address() + "/app");
  EXPECT_EQ(client.FetchSmallBlob(ref, Blob("config"), 5, {}).error().code, Code::kInvalid);
  server.Fail({.pattern = "/blobs/", .times = 1, .wrong_bytes = true});
  EXPECT_EQ(*client.FetchSmallBlob(ref, Blob("config"), 6, {}), "config");
  oci::Descriptor embedded = Blob("inside");
  embedded.data = "inside";
  EXPECT_EQ(*client.FetchSmallBlob(ref, embedded, 6, {}), "inside");
}

}  // namespace
}  // namespace varve::registry
