// The examples of Amazon's documentation, with their published signatures ("Signature Calculations
// for the Authorization Header: Transferring Payload in a Single Chunk", and get-vanilla of the
// signature version 4 test suite), and requests of all sorts signed a second time by
// testing/sign_aws.py.
#include "objects/aws_signature.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"

namespace varve::objects {
namespace {

const AwsKeys kDocumented{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};

Timestamp At(const char* time) { return *ParseTime(time); }

std::string Signature(const AwsRequest& request, const AwsKeys& keys, const char* service, Timestamp now) {
  for (const auto& [name, value] : SignAwsRequest(request, keys, "us-east-1", service, now)) {
    if (name == "Authorization") return value.substr(value.rfind('=') + 1);
  }
  return "";
}

std::string Documented(AwsRequest request, const std::string& payload = "") {
  request.authority = "examplebucket.s3.amazonaws.com";
  request.payload_sha256 = Digest::Of(payload).Hex();
  return Signature(request, kDocumented, "s3", At("2013-05-24T00:00:00Z"));
}

TEST(AwsSignature, SignsGetObjectAsDocumented) {
  EXPECT_EQ(Documented({.method = "GET", .path = "/test.txt", .headers = {{"Range", "bytes=0-9"}}}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(AwsSignature, SignsPutObjectAsDocumented) {
  EXPECT_EQ(Documented(
                {.method = "PUT",
                 .path = "/test$file.text",
                 .headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}},
                "Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST(AwsSignature, SignsAQueryWithoutAValueAsDocumented) {
  EXPECT_EQ(Documented({.method = "GET", .path = "/", .query = {{"lifecycle", ""}}}),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST(AwsSignature, SignsAListingAsDocumented) {
  EXPECT_EQ(Documented({.method = "GET", .path = "/", .query = {{"prefix", "J"}, {"max-keys", "2"}}}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(AwsSignature, SignsOtherServicesWithoutThePayloadHeader) {
  EXPECT_EQ(
      Signature(
          {.method = "GET", .authority = "example.amazonaws.com", .path = "/", .payload_sha256 = Digest::Of("").Hex()},
          {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""}, "service", At("2015-08-30T12:36:00Z")),
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

TEST(AwsSignature, EscapesPathsOnceAndKeepsSlashes) {
  EXPECT_EQ(EscapePath("/b/sha256:ab c/~é//x"), "/b/sha256%3Aab%20c/~%C3%A9//x");
  EXPECT_EQ(EscapePath(""), "");
}

TEST(AwsSignature, SortsTheQueryByItsEscapedForm) {
  EXPECT_EQ(CanonicalQuery({{"b", "1"}, {"a", "x/y"}, {"a", "+"}}), "a=%2B&a=x%2Fy&b=1");
}

TEST(AwsSignature, AgreesWithASecondImplementation) {
  if (std::system("python3 -c pass") != 0) GTEST_SKIP() << "python3 is not installed";
  std::mt19937 random(42);
  auto text = [&](size_t most) {
    static const std::vector<std::string> kPieces{"a", "Z", "0", "-", "_", ".", "~", "/", "%", "+", "=",
                                                  "&", "?", "#", ":", "*", "'", "(", " ", "é", "$"};
    std::string out;
    for (size_t n = random() % (most + 1); n > 0; --n) out += kPieces[random() % kPieces.size()];
    return out;
  };
  std::string requests;
  std::vector<std::string> signatures;
  for (int i = 0; i < 200; ++i) {
    AwsKeys keys{"ID" + std::to_string(i), text(40), i % 3 == 0 ? "token/+=" + text(9) : ""};
    AwsRequest request{.method = i % 2 == 0 ? "GET" : "PUT",
                       .authority = "bucket.example.com:" + std::to_string(i),
                       .path = "/" + text(20),
                       .payload_sha256 = Digest::Of(text(5)).Hex()};
    for (int n = i % 5; n > 0; --n) request.query.emplace_back("k" + text(4), text(6));
    if (i % 4 == 0) request.headers.emplace_back("Content-Type", "text/plain");
    net::Headers headers =
        SignAwsRequest(request, keys, "eu-x", "s3", {1'700'000'000'000'000'000LL + i * 86'400'000'000'000LL});
    Json fields = Json::EmptyObject(), query = Json::EmptyArray();
    fields.Set("host", request.authority);
    for (const auto& [name, value] : headers) {
      if (name == "Authorization") {
        signatures.push_back(value.substr(value.rfind('=') + 1));
      } else {
        fields.Set(name, std::string(TrimSpace(value)));
      }
    }
    for (const auto& [name, value] : request.query) query.Append(Json::Strings({name, value}));
    requests += Json::EmptyObject()
                    .Set("method", request.method)
                    .Set("path", request.path)
                    .Set("query", std::move(query))
                    .Set("headers", std::move(fields))
                    .Set("region", "eu-x")
                    .Set("secret", keys.secret_access_key)
                    .Dump() +
                "\n";
  }
  const std::string folder = ::testing::TempDir() + "/sign-" + std::to_string(getpid());
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(WriteFileAtomically(folder + "/in", requests));
  const std::string command =
      "python3 " VARVE_SOURCE_DIR "/src/objects/testing/sign_aws.py <" + folder + "/in >" + folder + "/out";
  ASSERT_EQ(std::system(command.c_str()), 0);
  auto out = ReadFile(folder + "/out");
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(out);
  std::vector<std::string> theirs = Split(*out, '\n');
  theirs.pop_back();
  EXPECT_EQ(theirs, signatures);
}

}  // namespace
}  // namespace varve::objects
