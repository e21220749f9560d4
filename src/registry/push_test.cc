#include <gmock/gmock.h>

#include "base/metric.h"
#include "base/thread_pool.h"
#include "registry/testing/client_fixture.h"

namespace varve::registry {
namespace {

using testing::FakeRegistry;
using ::testing::HasSubstr;
using testing::RegistryOptions;

class PushTest : public testing::ClientTest {
 protected:
  Result<Pushed> Push(Client& client, const FakeRegistry& server, const std::string& content,
                      const std::vector<std::string>& mount_from = {}) {
    auto open = [&](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
      return std::make_unique<StringReader>(std::string_view(content).substr(offset));
    };
    return client.PushBlob(Ref(server.Address() + "/team/app"), Blob(content), open, mount_from, {});
  }

  void ExpectStored(const FakeRegistry& server, const std::string& content) {
    EXPECT_TRUE(server.Blob("team/app", Digest::Of(content)) == content);
  }
};

TEST_F(PushTest, ABlobGoesUpInOnePiece) {
  FakeRegistry server;
  std::string content = Content(300'000);
  int64_t bytes = Counter("registry.bytes_out").value();
  auto pushed = Push(Use(), server, content);
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(*pushed, Pushed::kUploaded);
  ExpectStored(server, content);
  EXPECT_EQ(server.CountRequests("PATCH"), 0);
  EXPECT_EQ(Counter("registry.bytes_out").value() - bytes, 300'000);
}

TEST_F(PushTest, WhatIsThereIsNotSent) {
  FakeRegistry server;
  server.AddBlob("team/app", "there");
  EXPECT_EQ(*Push(Use(), server, "there"), Pushed::kExisted);
  EXPECT_EQ(server.Requests().size(), 1u);
  EXPECT_TRUE(*Use().HasBlob(Ref(server.Address() + "/team/app"), Digest::Of("there"), {}));
  EXPECT_FALSE(*Use().HasBlob(Ref(server.Address() + "/team/app"), Digest::Of("not"), {}));
}

TEST_F(PushTest, ABlobOfAnotherRepositoryIsMounted) {
  FakeRegistry server;
  server.AddBlob("library/node", "base layer");
  EXPECT_EQ(*Push(Use(), server, "base layer", {"library/node"}), Pushed::kMounted);
  ExpectStored(server, "base layer");
  EXPECT_EQ(server.CountRequests("PUT|PATCH"), 0);
}

TEST_F(PushTest, ABlobThatWasSeenElsewhereIsMountedFromThere) {
  FakeRegistry server;
  server.AddBlob("library/node", "base layer");
  Client& client = Use();
  StringWriter out;
  ASSERT_TRUE(client.FetchBlob(Ref(server.Address() + "/library/node"), Blob("base layer"), out, {}));
  EXPECT_EQ(*Push(client, server, "base layer"), Pushed::kMounted);
  // Another registry's repository is no help.
  FakeRegistry other;
  EXPECT_EQ(*Push(client, other, "base layer"), Pushed::kUploaded);
  EXPECT_EQ(other.CountRequests("mount="), 0);
}

TEST_F(PushTest, AManifestIsDeletedByItsDigestWhereTheRegistryLetsIt) {
  FakeRegistry server;
  oci::Reference name = Ref(server.Address() + "/team/app:x");
  ASSERT_TRUE(Use().PushManifest(name, std::string(oci::kOciIndex), "{}", {}));
  name.digest = Digest::Of("{}");
  EXPECT_TRUE(*Use().DeleteManifest(name, {}));
  EXPECT_FALSE(server.Manifest("team/app", "x"));
  EXPECT_TRUE(*Use().DeleteManifest(name, {})) << "absent is fine";
  FakeRegistry keeps({.deletes = false});
  oci::Reference kept = Ref(keeps.Address() + "/team/app:x");
  kept.digest = Digest::Of("{}");
  EXPECT_FALSE(*Use().DeleteManifest(kept, {}));
}

TEST_F(PushTest, TheNextSourceIsTriedAndNoSessionLeftBehind) {
  FakeRegistry server;
  server.AddBlob("library/node", "base layer");
  EXPECT_EQ(*Push(Use(), server, "base layer", {"no/such", "library/node"}), Pushed::kMounted);
  EXPECT_EQ(server.CountRequests("DELETE /v2/team/app/blobs/uploads/"), 1);
  EXPECT_EQ(server.OpenUploads(), 0u);
}

TEST_F(PushTest, AMountThatIsNotPossibleBecomesAnUpload) {
  FakeRegistry no_mount({.mount = false});
  no_mount.AddBlob("library/node", "base layer");
  EXPECT_EQ(*Push(Use(), no_mount, "base layer", {"library/node"}), Pushed::kUploaded);
  EXPECT_EQ(no_mount.CountRequests("POST"), 1);
  FakeRegistry refusing;
  refusing.Fail({.pattern = "mount=", .status = 403});
  EXPECT_EQ(*Push(Use(), refusing, "base layer", {"a/b", "c/d"}), Pushed::kUploaded);
  ExpectStored(refusing, "base layer");
}

TEST_F(PushTest, PiecesAreUsedWhereTheyAreWanted) {
  FakeRegistry server;
  chunk_size_ = 1000;
  always_chunk_ = true;
  std::string content = Content(3500);
  auto pushed = Push(Use(), server, content);
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(*pushed, Pushed::kUploaded);
  ExpectStored(server, content);
  EXPECT_EQ(server.CountRequests("PATCH"), 4);
}

TEST_F(PushTest, ABrokenUploadGoesOnWithTheRest) {
  FakeRegistry server;
  chunk_size_ = 100'000;
  std::string content = Content(2'000'000);
  server.Fail({.pattern = "PUT", .times = 1, .cut_upload = 1'000'000});
  auto pushed = Push(Use(), server, content);
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(*pushed, Pushed::kUploaded);
  ExpectStored(server, content);
  EXPECT_EQ(server.CountRequests("POST"), 1);
  EXPECT_EQ(server.CountRequests("PATCH"), 10);
}

TEST_F(PushTest, PiecesAreAsLargeAsTheRegistryAsksFor) {
  FakeRegistry server({.least_piece = 400'000});
  chunk_size_ = 100'000;
  std::string content = Content(2'000'000);
  server.Fail({.pattern = "PUT", .times = 1, .cut_upload = 1'000'000});
  auto pushed = Push(Use(), server, content);
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  ExpectStored(server, content);
  EXPECT_EQ(server.CountRequests("PATCH"), 3);
}

TEST_F(PushTest, WhereAPieceIsTooLargeTheWholeIsSentAgain) {
  FakeRegistry server({.largest_piece = 50'000});
  chunk_size_ = 100'000;
  std::string content = Content(300'000);
  server.Fail({.pattern = "PUT", .times = 1, .cut_upload = 100'000});
  auto pushed = Push(Use(), server, content);
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  ExpectStored(server, content);
  EXPECT_EQ(server.CountRequests("PATCH"), 1);
}

TEST_F(PushTest, ABrokenUploadGoesOnWhereOnlySmallPiecesAreTaken) {
  FakeRegistry server({.largest_piece = 4 << 20});
  chunk_size_ = ClientOptions().chunk_size;
  std::string content = Content(12'000'000);
  server.Fail({.pattern = "PUT", .times = 1, .cut_upload = 1'000'000});
  auto pushed = Push(Use(), server, content);
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  ExpectStored(server, content);
  EXPECT_EQ(server.CountRequests("PATCH"), 3);
}

TEST_F(PushTest, ABrokenPieceGoesOnToo) {
  FakeRegistry server;
  chunk_size_ = 500'000;
  always_chunk_ = true;
  std::string content = Content(2'000'000);
  server.Fail({.pattern = "PATCH", .times = 2, .cut_upload = 300'000});
  auto pushed = Push(Use(), server, content);
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(*pushed, Pushed::kUploaded);
  ExpectStored(server, content);
}

TEST_F(PushTest, ALostSessionIsBegunAnew) {
  FakeRegistry server;
  chunk_size_ = 1000;
  std::string content = Content(3000);
  server.Fail({.pattern = "PUT", .times = 1, .status = 404});
  auto pushed = Push(Use(), server, content);
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(*pushed, Pushed::kUploaded);
  ExpectStored(server, content);
  EXPECT_EQ(server.CountRequests("POST"), 2);
}

TEST_F(PushTest, PassingFailuresOfEveryStepAreSurvived) {
  for (const char* step : {"HEAD", "POST", "PUT", "PATCH"}) {
    for (int status : {500, 429}) {
      FakeRegistry server;
      chunk_size_ = 1000;
      always_chunk_ = std::string(step) == "PATCH";
      server.Fail({.pattern = step, .times = 2, .status = status, .retry_after = "1"});
      std::string content = Content(2500);
      auto pushed = Push(Use(), server, content);
      ASSERT_TRUE(pushed) << step << " " << status << ": " << pushed.error().ToString();
      ExpectStored(server, content);
    }
  }
}

TEST_F(PushTest, AnAnswerThatWasLostIsNoFailure) {
  FakeRegistry server;
  std::string content = Content(1000);
  server.Fail({.pattern = "PUT", .times = 1, .lose_answer = true});
  ASSERT_TRUE(Push(Use(), server, content));
  ExpectStored(server, content);
  EXPECT_EQ(server.CountRequests("PUT"), 1);
}

TEST_F(PushTest, ARefusalIsNotTriedAgain) {
  FakeRegistry server;
  server.Fail(
      {.pattern = "POST", .status = 403, .body = R"({"errors":[{"code":"DENIED","message":"no push for you"}]})"});
  auto pushed = Push(Use(), server, "x");
  EXPECT_EQ(pushed.error().code, Code::kInvalid);
  EXPECT_THAT(pushed.error().message, HasSubstr("no push for you"));
  EXPECT_EQ(server.CountRequests("POST"), 1);
}

TEST_F(PushTest, ARegistryThatStaysDownIsUnavailable) {
  FakeRegistry server;
  server.Fail({.pattern = "PUT", .status = 503});
  auto pushed = Push(Use(), server, "x");
  EXPECT_EQ(pushed.error().code, Code::kUnavailable);
  EXPECT_LE(server.CountRequests("PUT"), 5);
}

TEST_F(PushTest, ContentThatCannotBeReadIsTheError) {
  FakeRegistry server;
  Client& client = Use();
  auto fail = [](uint64_t) -> Result<std::unique_ptr<Reader>> { return NotFound("layer is gone"); };
  oci::Reference ref = Ref(server.Address() + "/team/app");
  EXPECT_EQ(client.PushBlob(ref, Blob("x"), fail, {}, {}).error().message, "layer is gone");
  auto shorter = [](uint64_t) -> Result<std::unique_ptr<Reader>> { return std::make_unique<StringReader>("half"); };
  EXPECT_EQ(client.PushBlob(ref, Blob("half of it"), shorter, {}, {}).error().code, Code::kCorrupt);
}

TEST_F(PushTest, ManifestsGoByTagOrByDigest) {
  FakeRegistry server;
  std::string text = oci::Serialise(oci::Manifest{.config = Blob("config")});
  Client& client = Use();
  server.Fail({.pattern = "PUT", .times = 1, .status = 429, .retry_after = "2"});
  std::string type(oci::kOciManifest);
  auto tagged = client.PushManifest(Ref(server.Address() + "/team/app:v1"), type, text, {});
  ASSERT_TRUE(tagged) << tagged.error().ToString();
  EXPECT_EQ(tagged->digest, Digest::Of(text));
  EXPECT_EQ(server.Manifest("team/app", "v1"), text);
  std::string name = server.Address() + "/other@" + Digest::Of(text).ToString();
  ASSERT_TRUE(client.PushManifest(Ref(name), type, text, {}));
  EXPECT_EQ(server.Manifest("other", Digest::Of(text).ToString()), text);
  ASSERT_TRUE(client.PushManifest(Ref(server.Address() + "/third"), type, text, {}));
  EXPECT_EQ(server.CountRequests("PUT /v2/third/manifests/sha256:"), 1);
  EXPECT_EQ(client.PushManifest(Ref(name), type, text + " ", {}).error().code, Code::kInvalid);
}

TEST_F(PushTest, ManyBlobsAtOnce) {
  FakeRegistry server({.bearer = "anonymous"});
  chunk_size_ = 30'000;
  server.Fail({.pattern = "PUT", .times = 4, .cut_upload = 10'000});
  server.Fail({.pattern = "POST", .times = 4, .status = 500});
  Client& client = Use();
  Status status = ParallelFor(16, 6, [&](size_t i) -> Status {
    TRY(Push(client, server, Content(80'000 + i)));
    return Ok();
  });
  EXPECT_TRUE(status) << status.error().ToString();
  for (size_t i = 0; i < 16; ++i) ExpectStored(server, Content(80'000 + i));
}

}  // namespace
}  // namespace varve::registry
