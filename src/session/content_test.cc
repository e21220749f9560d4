#include "session/content.h"

#include <gtest/gtest.h>

#include "api/content.grpc.pb.h"
#include "base/guarded.h"
#include "session/testing/fake_client.h"
#include "session/testing/fake_daemon.h"

namespace varve::session {
namespace {

namespace api = containerd::services::content::v1;
using testing::FakeClient;
using testing::FakeDaemon;

// containerd's content server, as far as clients serve it, over a map: one answer a request, verified at the commit.
class Store final : public api::Content::Service {
 public:
  Guarded<std::map<std::string, std::string>> blobs;
  std::atomic<int> writes = 0;

  grpc::Status Info(grpc::ServerContext* context, const api::InfoRequest* request,
                    api::InfoResponse* response) override {
    if (const grpc::Status known = Choose(*context); !known.ok()) return known;
    auto all = blobs.Lock();
    const auto at = all->find(request->digest());
    if (at == all->end()) return {grpc::StatusCode::NOT_FOUND, "content " + request->digest() + ": not found"};
    response->mutable_info()->set_size(static_cast<int64_t>(at->second.size()));
    return grpc::Status::OK;
  }
  grpc::Status Read(grpc::ServerContext* context, const api::ReadContentRequest* request,
                    grpc::ServerWriter<api::ReadContentResponse>* writer) override {
    if (const grpc::Status known = Choose(*context); !known.ok()) return known;
    auto all = blobs.Lock();
    const auto at = all->find(request->digest());
    if (at == all->end()) return {grpc::StatusCode::NOT_FOUND, "content not found"};
    std::string rest = at->second.substr(static_cast<size_t>(request->offset()));
    if (request->size() > 0) rest = rest.substr(0, static_cast<size_t>(request->size()));
    api::ReadContentResponse response;
    int64_t offset = request->offset();
    for (size_t i = 0; i < rest.size(); i += 1000) {
      response.set_offset(offset);
      response.set_data(rest.substr(i, 1000));
      offset += static_cast<int64_t>(response.data().size());
      writer->Write(response);
    }
    return grpc::Status::OK;
  }
  grpc::Status Write(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<api::WriteContentResponse, api::WriteContentRequest>* stream) override {
    if (const grpc::Status known = Choose(*context); !known.ok()) return known;
    api::WriteContentRequest request;
    std::string data;
    while (stream->Read(&request)) {
      if (blobs.Lock()->contains(request.expected())) {
        return {grpc::StatusCode::ALREADY_EXISTS, "content exists"};
      }
      if (request.offset() != static_cast<int64_t>(data.size())) {
        return {grpc::StatusCode::OUT_OF_RANGE, "write at the wrong place"};
      }
      if (request.action() == api::WRITE) ++writes;
      data += request.data();
      if (request.action() == api::COMMIT) {
        if (Digest::Of(data).ToString() != request.expected()) {
          return {grpc::StatusCode::FAILED_PRECONDITION, "unexpected commit digest"};
        }
        (*blobs.Lock())[request.expected()] = data;
      }
      api::WriteContentResponse response;
      response.set_action(request.action());
      response.set_offset(static_cast<int64_t>(data.size()));
      stream->Write(response);
      if (request.action() == api::COMMIT) return grpc::Status::OK;
    }
    return grpc::Status::OK;
  }

 private:
  static grpc::Status Choose(const grpc::ServerContext& context) {
    const auto at = context.client_metadata().find("buildkit-attachable-store-id");
    if (at != context.client_metadata().end() && at->second == "local:/cache") return grpc::Status::OK;
    return {grpc::StatusCode::NOT_FOUND, "unknown store"};
  }
};

class ContentTest : public ::testing::Test {
 protected:
  ContentTest() {
    client_ = std::make_unique<FakeClient>(
        daemon_.Connect(),
        testing::FakeClientOptions{.id = "one",
                                   .services = {&store_},
                                   .methods = {"/containerd.services.content.v1.Content/Info",
                                               "/containerd.services.content.v1.Content/Read",
                                               "/containerd.services.content.v1.Content/Write"}});
    session_ = daemon_.sessions().Find("one", {}).value();
    content_ = std::make_unique<ClientContent>(session_, "local:/cache");
  }

  Store store_;
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
  (*store_.blobs.Lock())[Digest::Of(data).ToString()] = data;
  StringReader in(data);
  ASSERT_TRUE(content_->Write(Digest::Of(data), data.size(), in, {}));
  EXPECT_EQ(store_.writes, 0);
}

TEST_F(ContentTest, EmptyBlobsAreBlobs) {
  StringReader in("");
  ASSERT_TRUE(content_->Write(Digest::Of(""), 0, in, {}));
  EXPECT_EQ(content_->Size(Digest::Of(""), {}).value(), 0u);
}

TEST_F(ContentTest, WrongBytesAreCorrupt) {
  const Digest digest = Digest::Of("right");
  (*store_.blobs.Lock())[digest.ToString()] = "wrong";
  StringWriter out;
  EXPECT_EQ(content_->Read(digest, out, {}).error().code, Code::kCorrupt);
}

TEST_F(ContentTest, PartsAreReadAlone) {
  const Digest digest = Digest::Of("0123456789");
  (*store_.blobs.Lock())[digest.ToString()] = "0123456789";
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
  EXPECT_TRUE(store_.blobs.Lock()->empty());
}

}  // namespace
}  // namespace varve::session
