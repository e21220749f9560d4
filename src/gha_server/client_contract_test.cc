// gha::Client against the service, in both versions of the protocol.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gha/client.h"
#include "gha_server/testing/service.h"

namespace varve::gha {
namespace {

using gha_server::testing::LocalService;
using ::testing::HasSubstr;

OpenRange Bytes(const std::string& bytes) {
  return [&bytes](uint64_t offset, uint64_t size) -> Result<std::unique_ptr<Reader>> {
    return std::make_unique<StringReader>(std::string_view(bytes).substr(offset, size));
  };
}

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 251);
  return bytes;
}

class ClientContract : public ::testing::TestWithParam<Protocol> {
 protected:
  Client::Options Small() { return {.upload_part = 10'000, .download_part = 7'000}; }
  std::unique_ptr<Client> NewClient(const std::string& scopes = "refs/heads/topic:rw,refs/heads/main:r") {
    return std::make_unique<Client>(http_, service_.Address(GetParam(), scopes), SystemClock(), net::SystemSleeper(),
                                    Small());
  }
  LocalService service_;
  net::HttpClient http_;
  std::unique_ptr<Client> client_ = NewClient();
};

INSTANTIATE_TEST_SUITE_P(Versions, ClientContract, ::testing::Values(Protocol::kV1, Protocol::kV2),
                         [](const auto& version) { return version.param == Protocol::kV1 ? "V1" : "V2"; });

TEST_P(ClientContract, SavesFindsAndReads) {
  for (size_t size : {0, 1, 10'000, 123'456}) {
    std::string key = "k-" + std::to_string(size), bytes = Pattern(size);
    auto saved = client_->Save(key, "v", size, Bytes(bytes), {});
    ASSERT_TRUE(saved) << saved.error().message;
    EXPECT_TRUE(*saved);
    auto found = client_->Find({key}, "v", {});
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->key, key);
    StringWriter out;
    Status read = client_->Read(**found, 0, size, out, {});
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(out.text, bytes);
  }
}

TEST_P(ClientContract, ReadsAPartInOrder) {
  std::string bytes = Pattern(100'000);
  ASSERT_TRUE(client_->Save("k", "v", bytes.size(), Bytes(bytes), {}));
  auto found = client_->Find({"k"}, "v", {});
  StringWriter out;
  ASSERT_TRUE(client_->Read(**found, 12'345, 50'000, out, {}));
  EXPECT_EQ(out.text, bytes.substr(12'345, 50'000));
  EXPECT_EQ(*client_->ReadSmall(**found, 100'000, {}), bytes);
  EXPECT_FALSE(client_->ReadSmall(**found, 99'999, {}));
  StringWriter beyond;
  EXPECT_EQ(client_->Read(**found, 200'000, 1, beyond, {}).error().code, Code::kNotFound);
}

TEST_P(ClientContract, KeysMatchAsTheyAreElseByTheirBeginning) {
  ASSERT_TRUE(client_->Save("deps-1", "v", 1, Bytes("x"), {}));
  ASSERT_TRUE(client_->Save("deps-12", "v", 1, Bytes("x"), {}));
  auto key = [&](std::vector<std::string> keys) {
    auto found = client_->Find(keys, "v", {});
    return found && *found ? (*found)->key : "nothing";
  };
  EXPECT_EQ(key({"deps-1"}), "deps-1");
  EXPECT_EQ(key({"deps-"}), "deps-12");
  EXPECT_EQ(key({"absent", "deps-1"}), "deps-1");
  EXPECT_EQ(key({"absent"}), "nothing");
  EXPECT_FALSE(*client_->Find({"deps-1"}, "other version", {}));
}

TEST_P(ClientContract, ASecondSaveIsToldThatTheEntryExists) {
  ASSERT_TRUE(client_->Save("k", "v", 1, Bytes("a"), {}));
  auto again = client_->Save("k", "v", 1, Bytes("b"), {});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_FALSE(*again);
}

TEST_P(ClientContract, AReadOnlyTokenIsDeniedInTheServicesWords) {
  auto reader = NewClient("refs/heads/main:r");
  auto saved = reader->Save("k", "v", 1, Bytes("a"), {});
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, Code::kUnavailable);
  EXPECT_THAT(saved.error().message, HasSubstr("cache write denied"));
}

TEST_P(ClientContract, AnExpiredTokenIsUnavailable) {
  ASSERT_TRUE(client_->Save("k", "v", 1, Bytes("a"), {}));
  service_.clock().Advance(std::chrono::hours(7));
  auto found = client_->Find({"k"}, "v", {});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::kUnavailable);
  EXPECT_THAT(found.error().message, HasSubstr("401: the token is expired"));
}

TEST_P(ClientContract, AnAddressThatExpiredIsReplaced) {
  std::string bytes = Pattern(50'000);
  ASSERT_TRUE(client_->Save("k", "v", bytes.size(), Bytes(bytes), {}));
  auto found = client_->Find({"k"}, "v", {});
  service_.clock().Advance(std::chrono::hours(2));
  std::string before = (*found)->url;
  StringWriter out;
  Status read = client_->Read(**found, 0, bytes.size(), out, {});
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(out.text, bytes);
  EXPECT_NE((*found)->url, before);
}

TEST_P(ClientContract, AnEvictedEntryIsNotFound) {
  ASSERT_TRUE(client_->Save("k", "v", 3, Bytes("abc"), {}));
  auto found = client_->Find({"k"}, "v", {});
  std::string large = Pattern(LocalService::kMaxSize - 1);
  ASSERT_TRUE(client_->Save("large", "v", large.size(), Bytes(large), {}));
  StringWriter out;
  EXPECT_EQ(client_->Read(**found, 0, 3, out, {}).error().code, Code::kNotFound);
}

TEST_P(ClientContract, KeysThatTheServiceWouldNotTakeAreRefusedHere) {
  EXPECT_EQ(client_->Find({}, "v", {}).error().code, Code::kInvalid);
  EXPECT_EQ(client_->Find(std::vector<std::string>(11, "k"), "v", {}).error().code, Code::kInvalid);
  EXPECT_EQ(client_->Save("a,b", "v", 1, Bytes("a"), {}).error().code, Code::kInvalid);
  EXPECT_EQ(client_->Save(std::string(513, 'k'), "v", 1, Bytes("a"), {}).error().code, Code::kInvalid);
  auto longest = client_->Save(std::string(512, 'k'), "v", 1, Bytes("a"), {});
  EXPECT_TRUE(longest && *longest);
}

TEST_P(ClientContract, AFailingSourceFailsTheUploadAndLeavesNothing) {
  OpenRange broken = [](uint64_t, uint64_t) -> Result<std::unique_ptr<Reader>> { return NotFound("blob is gone"); };
  EXPECT_THAT(client_->Save("k", "v", 30'000, broken, {}).error().message, HasSubstr("blob is gone"));
  EXPECT_FALSE(*client_->Find({"k"}, "v", {}));
}

TEST(Client, TheVersionsReadEachOther) {
  LocalService service;
  net::HttpClient http;
  Client one(http, service.Address(Protocol::kV1, "refs/heads/main:rw"), SystemClock(), net::SystemSleeper());
  Client two(http, service.Address(Protocol::kV2, "refs/heads/main:rw"), SystemClock(), net::SystemSleeper());
  ASSERT_TRUE(one.Save("a", "v", 3, Bytes("one"), {}));
  ASSERT_TRUE(two.Save("b", "v", 3, Bytes("two"), {}));
  auto a = two.Find({"a"}, "v", {}), b = one.Find({"b"}, "v", {});
  EXPECT_EQ(*two.ReadSmall(**a, 9, {}), "one");
  EXPECT_EQ(*one.ReadSmall(**b, 9, {}), "two");
}

}  // namespace
}  // namespace varve::gha
