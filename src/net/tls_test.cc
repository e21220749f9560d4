#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "net/http_client.h"
#include "net/testing/certificate.h"
#include "net/testing/http_server.h"

namespace varve::net {
namespace {

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() {
    std::filesystem::create_directories(directory_);
    certificates_ = testing::MakeCertificates(directory_);
    server_ = std::make_unique<testing::HttpServer>(
        [](const testing::ServerRequest&) { return testing::ServerReply{.body = "secure"}; },
        testing::HttpServer::BodyLimit{}, testing::ServerTls{certificates_.certificate_file, certificates_.key_file});
  }
  ~TlsTest() override { std::filesystem::remove_all(directory_); }

  Result<Reply> Get(Tls tls) { return http_.Fetch({.url = server_->Url("/"), .tls = std::move(tls)}, 1000, {}); }

  std::string directory_ = ::testing::TempDir() + "/varve-tls-test";
  testing::TestCertificates certificates_;
  std::unique_ptr<testing::HttpServer> server_;
  HttpClient http_;
};

TEST_F(TlsTest, AnUnknownCaIsRefused) {
  auto reply = Get({});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::kInvalid);
  EXPECT_THAT(reply.error().message, ::testing::HasSubstr("not trusted"));
  EXPECT_NE(reply.error().hint, "");
}

TEST_F(TlsTest, AConfiguredCaIsTrusted) {
  auto reply = Get({.ca = certificates_.ca_file});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->body, "secure");
  ASSERT_TRUE(Get({.ca = certificates_.ca_file}));
  EXPECT_EQ(server_->connections(), 1);
}

TEST_F(TlsTest, InsecureSkipsTheCheckForThatRequestOnly) {
  EXPECT_TRUE(Get({.insecure = true}));
  EXPECT_FALSE(Get({}));
}

TEST_F(TlsTest, AServerThatAsksIsShownTheClientsCertificate) {
  testing::HttpServer strict(
      [](const testing::ServerRequest&) { return testing::ServerReply{.body = "welcome"}; },
      testing::HttpServer::BodyLimit{},
      testing::ServerTls{certificates_.certificate_file, certificates_.key_file, certificates_.ca_file});
  auto get = [&](Tls tls) {
    tls.ca = certificates_.ca_file;
    return http_.Fetch({.url = strict.Url("/"), .tls = std::move(tls)}, 1000, {});
  };
  EXPECT_FALSE(get({}));
  const Tls own{.certificate = certificates_.client_certificate_file, .key = certificates_.client_key_file};
  auto reply = get(own);
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->body, "welcome");
  EXPECT_FALSE(get({}));  // the connection that knows who asked serves nobody else
}

TEST_F(TlsTest, ACertificateThatCannotBeUsedIsNamed) {
  auto reply = Get({.ca = certificates_.ca_file, .certificate = directory_ + "/absent.pem", .key = "/k"});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::kInvalid);
  EXPECT_THAT(reply.error().message, ::testing::HasSubstr("absent.pem"));
}

TEST_F(TlsTest, AnUnreadableCaFileIsNamed) {
  auto reply = Get({.ca = directory_ + "/absent.pem"});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::kInvalid);
  EXPECT_THAT(reply.error().message, ::testing::HasSubstr("absent.pem"));
}

}  // namespace
}  // namespace varve::net
