#include "session/content.h"

#include <gtest/gtest.h>

#include "session/testing/content_stores.h"
#include "session/testing/fake_client.h"
#include "session/testing/fake_daemon.h"

namespace varve::session {
namespace {

using testing::FakeClient;
using testing::FakeDaemon;

class ContentTest : public ::testing::Test {
 protected:
  ContentTest() {
    client_ = std::make_unique<FakeClient>(
        daemon_.Connect(),
        testing::FakeClientOptions{.id = "one", .services = {&stores_}, .methods = testing::ContentStores::Methods()});
    session_ = daemon_.sessions().Find("one", {}).value();
    content_ = std::make_unique<ClientContent>(session_, "local:/cache");
  }

  testing::ContentStores stores_;
  testing::ContentStores::Blobs& blobs_ = stores_.Add("local:/cache");
  FakeDaemon daemon_;
  std::unique_ptr<FakeClient> client_;
  std::shared_ptr<Session> session_;
  std::unique_ptr<ClientContent> content_;
};

TEST_F(ContentTest, WhatIsWrittenCanBeRead) {
  const std::string data(2'500'000, 'x');
  const Digest digest = Digest::Of(data);
  EXPECT_EQ(content_->Size(digest, {}).value(), std::nullopt);
  StringReader in(data);
  const Status written = content_->Write(digest, data.size(), in, {});
  ASSERT_TRUE(written) << written.error().ToString();
  EXPECT_EQ(content_->Size(digest, {}).value(), data.size());
  StringWriter out;
  ASSERT_TRUE(content_->Read(digest, out, {}));
  EXPECT_TRUE(out.text == data);
}

TEST_F(ContentTest, WhatTheClientHasIsNotSent) {
  const std::string data = "a blob";
  (*blobs_.Lock())[Digest::Of(data).ToString()] = data;
  StringReader in(data);
  ASSERT_TRUE(content_->Write(Digest::Of(data), data.size(), in, {}));
  EXPECT_EQ(stores_.writes, 0);
}

TEST_F(ContentTest, EmptyBlobsAreBlobs) {
  StringReader in("");
  ASSERT_TRUE(content_->Write(Digest::Of(""), 0, in, {}));
  EXPECT_EQ(content_->Size(Digest::Of(""), {}).value(), 0u);
}

TEST_F(ContentTest, WrongBytesAreCorrupt) {
  const Digest digest = Digest::Of("right");
  (*blobs_.Lock())[digest.ToString()] = "wrong";
  StringWriter out;
  EXPECT_EQ(content_->Read(digest, out, {}).error().code, Code::kCorrupt);
}

TEST_F(ContentTest, PartsAreReadAlone) {
  const Digest digest = Digest::Of("0123456789");
  (*blobs_.Lock())[digest.ToString()] = "0123456789";
  EXPECT_EQ(content_->ReadPart(digest, 3, 4, {}).value(), "3456");
  EXPECT_EQ(content_->ReadPart(digest, 8, 4, {}).error().code, Code::kCorrupt);
}

TEST_F(ContentTest, AnAbsentBlobIsNotFound) {
  StringWriter out;
  EXPECT_EQ(content_->Read(Digest::Of("absent"), out, {}).error().code, Code::kNotFound);
}

TEST_F(ContentTest, AnUnknownStoreIsAnError) {
  ClientContent other(session_, "local:/other");
  EXPECT_EQ(other.Size(Digest::Of("x"), {}).error().code, Code::kNotFound);
}

TEST_F(ContentTest, ASourceThatBreaksLeavesNothing) {
  class Broken final : public Reader {
    Result<size_t> Read(std::span<char>) override { return Corrupt("the layer is damaged"); }
  };
  Broken in;
  EXPECT_EQ(content_->Write(Digest::Of("x"), 1, in, {}).error().message, "the layer is damaged");
  EXPECT_TRUE(blobs_.Lock()->empty());
}

}  // namespace
}  // namespace varve::session
