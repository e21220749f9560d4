#include "exec/source_auth.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace varve::exec {
namespace {

// Secrets from the environment, as --secret id=…,env=… gives them.
class SourceAuthTest : public ::testing::Test {
 protected:
  ~SourceAuthTest() override {
    for (const auto& [id, source] : sources_) unsetenv(source.variable.c_str());
  }
  void Give(const std::string& id, const std::string& value) {
    std::string variable = "VARVE_TEST_SECRET_" + std::to_string(sources_.size());
    setenv(variable.c_str(), value.c_str(), 1);
    sources_[id] = {.path = {}, .variable = variable};
  }
  source::GitAccess Git(const std::string& remote) {
    auto access = FindGitAccess({.remote = remote}, Secrets(sources_));
    EXPECT_TRUE(access) << access.error().ToString();
    return access ? *access : source::GitAccess();
  }
  std::string Http(const std::string& url) {
    auto value = FindHttpAuthorization({.url = url}, Secrets(sources_));
    EXPECT_TRUE(value) << value.error().ToString();
    return value.value_or("");
  }
  std::map<std::string, SecretSource> sources_;
};

TEST_F(SourceAuthTest, AHostsOwnSecretGoesBeforeTheGeneralOne) {
  Give("GIT_AUTH_TOKEN", "general\n");
  EXPECT_EQ(Git("https://a.example/x.git").token, "general");
  Give("GIT_AUTH_TOKEN.a.example", "for a");
  Give("GIT_AUTH_TOKEN.b.example:8443", "for b");
  EXPECT_EQ(Git("https://a.example/x.git").token, "for a");
  EXPECT_EQ(Git("https://b.example:8443/x.git").token, "for b");
  EXPECT_EQ(Git("https://b.example/x.git").token, "general");
  EXPECT_EQ(Git("https://user@a.example/x.git").token, "for a");
}

TEST_F(SourceAuthTest, AHeaderGoesBeforeATokenOfTheSameReach) {
  Give("GIT_AUTH_HEADER", "Basic general");
  Give("GIT_AUTH_TOKEN.a.example", "for a");
  EXPECT_EQ(Git("https://a.example/x.git").token, "for a");
  EXPECT_EQ(Git("https://a.example/x.git").header, "");
  EXPECT_EQ(Git("https://b.example/x.git").header, "Basic general");
  Give("GIT_AUTH_HEADER.a.example", "Basic a");
  EXPECT_EQ(Git("https://a.example/x.git").header, "Basic a");
  EXPECT_EQ(Git("https://a.example/x.git").token, "");
}

TEST_F(SourceAuthTest, NothingGivenIsNothing) {
  EXPECT_EQ(Git("https://a.example/x.git").token, "");
  EXPECT_EQ(Http("https://a.example/x"), "");
}

TEST_F(SourceAuthTest, HttpSecretsNameTheHostWithoutItsPort) {
  Give("HTTP_AUTH_HEADER_a.example", "Basic YTpi");
  EXPECT_EQ(Http("https://a.example/x"), "Basic YTpi");
  EXPECT_EQ(Http("http://A.example:8080/x?y"), "Basic YTpi");
  EXPECT_EQ(Http("https://b.example/a.example"), "");
  EXPECT_EQ(Http("https://a.example.evil.example/x"), "");
  Give("HTTP_AUTH_TOKEN_a.example", " token ");
  EXPECT_EQ(Http("https://a.example/x"), "Bearer token");
}

TEST_F(SourceAuthTest, ASourceMayNameTheSecretOfItsHeader) {
  Give("HTTP_AUTH_TOKEN_a.example", "token");
  Give("MINE", "Basic bWluZQ==");
  graph::HttpSource source{.url = "https://a.example/x", .auth_header_secret = "MINE"};
  EXPECT_EQ(*FindHttpAuthorization(source, Secrets(sources_)), "Basic bWluZQ==");
  source.auth_header_secret = "NOT_GIVEN";
  EXPECT_EQ(*FindHttpAuthorization(source, Secrets(sources_)), "Bearer token");
}

TEST_F(SourceAuthTest, ASecondHeaderCannotBeSmuggledIn) {
  Give("HTTP_AUTH_TOKEN_a.example", "token\r\nX-Evil: 1");
  auto value = FindHttpAuthorization({.url = "https://a.example/x"}, Secrets(sources_));
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().ToString().find("X-Evil"), std::string::npos);
}

}  // namespace
}  // namespace varve::exec
