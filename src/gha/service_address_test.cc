#include "gha/service_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/hex.h"

namespace varve::gha {
namespace {

using Environment = std::map<std::string, std::string>;

std::string Describe(const ServiceOptions& options, Environment environment) {
  auto found = FindService(options, [&](const char* name) { return environment[name]; });
  if (!found) return found.error().message;
  if (!*found) return "none";
  return ((*found)->protocol == Protocol::kV1 ? "1 " : "2 ") + (*found)->url + " " + (*found)->token;
}

const Environment kJob = {{"ACTIONS_RUNTIME_TOKEN", "t"},
                          {"ACTIONS_CACHE_URL", "https://cache.example/abc/"},
                          {"ACTIONS_RESULTS_URL", "https://results.example/"}};

Environment With(Environment environment, const Environment& more) {
  for (const auto& [name, value] : more) environment[name] = value;
  return environment;
}

TEST(ServiceAddress, VersionTwoIsUsedWhereTheRunnerAnnouncesIt) {
  EXPECT_EQ(Describe({}, kJob), "1 https://cache.example/abc t");
  EXPECT_EQ(Describe({}, With(kJob, {{"ACTIONS_CACHE_SERVICE_V2", "true"}})), "2 https://results.example t");
  EXPECT_EQ(Describe({}, With(kJob, {{"ACTIONS_CACHE_SERVICE_V2", "false"}})), "1 https://cache.example/abc t");
}

TEST(ServiceAddress, EnterpriseServerHasVersionOneAlone) {
  Environment v2 = With(kJob, {{"ACTIONS_CACHE_SERVICE_V2", "true"}});
  EXPECT_EQ(Describe({}, With(v2, {{"GITHUB_SERVER_URL", "https://git.corp.example"}})),
            "1 https://cache.example/abc t");
  EXPECT_EQ(Describe({}, With(v2, {{"GITHUB_SERVER_URL", "https://corp.ghe.com"}})), "2 https://results.example t");
  EXPECT_EQ(Describe({}, With(v2, {{"GITHUB_SERVER_URL", "https://github.com"}})), "2 https://results.example t");
}

TEST(ServiceAddress, OptionsComeBeforeTheEnvironment) {
  Environment v2 = With(kJob, {{"ACTIONS_CACHE_SERVICE_V2", "1"}});
  EXPECT_EQ(Describe({.version = "1"}, v2), "1 https://cache.example/abc t");
  EXPECT_EQ(Describe({.version = "2"}, kJob), "2 https://results.example t");
  EXPECT_EQ(Describe({.url = "http://127.0.0.1:8377/"}, v2), "1 http://127.0.0.1:8377 t");
  EXPECT_EQ(Describe({.url_v2 = "http://127.0.0.1:8377/", .token = "u"}, kJob), "2 http://127.0.0.1:8377 u");
  EXPECT_EQ(Describe({.url = "https://results-receiver.actions.githubusercontent.com/"}, kJob),
            "2 https://results-receiver.actions.githubusercontent.com t");
  EXPECT_EQ(Describe({.version = "3"}, kJob), "version=3 of the cache service is not known");
}

TEST(ServiceAddress, OutsideOfAJobThereIsNone) {
  EXPECT_EQ(Describe({}, {}), "none");
  EXPECT_EQ(Describe({}, {{"ACTIONS_RUNTIME_TOKEN", "t"}}), "none");
  EXPECT_EQ(Describe({}, {{"ACTIONS_CACHE_URL", "https://cache.example/"}}), "none");
}

TEST(ServiceAddress, ATokenTellsItsScopes) {
  std::string claims_text = R"({"exp":1800000000,"ac":"[{\"Scope\":\"refs/heads/main\",\"Permission\":1},)"
                            R"({\"Scope\":\"refs/heads/topic\",\"Permission\":3}]"})";
  TokenClaims claims = ReadToken("e30." + Base64Encode(claims_text) + ".signature");
  ASSERT_EQ(claims.scopes.size(), 2u);
  EXPECT_EQ(claims.Writable()->ref, "refs/heads/topic");
  EXPECT_EQ(claims.expires->seconds(), 1'800'000'000);
  for (const char* odd : {"", "opaque", "a.b.c", "e30.e30.e30", "..", "e30.W10.x"}) {
    EXPECT_TRUE(ReadToken(odd).scopes.empty()) << odd;
    EXPECT_EQ(ReadToken(odd).Writable(), nullptr);
  }
}

}  // namespace
}  // namespace varve::gha
