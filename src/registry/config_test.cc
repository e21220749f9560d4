#include "registry/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"

namespace varve::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Urls(const Config& config, const std::string& domain) {
  std::vector<std::string> out;
  for (const Endpoint& endpoint : config.Endpoints(domain)) out.push_back(endpoint.url);
  return out;
}

TEST(Config, DockerHubIsServedByAnotherHost) {
  EXPECT_THAT(Urls({}, "docker.io"), ElementsAre("https://registry-1.docker.io"));
  EXPECT_THAT(Urls({}, "registry.example.com"), ElementsAre("https://registry.example.com"));
}

TEST(Config, OnlyLoopbackIsAskedInTheClear) {
  EXPECT_THAT(Urls({}, "localhost:5000"), ElementsAre("http://localhost:5000"));
  EXPECT_THAT(Urls({}, "127.0.0.1:5000"), ElementsAre("http://127.0.0.1:5000"));
  EXPECT_THAT(Urls({}, "[::1]:5000"), ElementsAre("http://[::1]:5000"));
  EXPECT_THAT(Urls({}, "10.0.0.1:5000"), ElementsAre("https://10.0.0.1:5000"));
  Config config = *Config::Parse(R"({"registries": {"10.0.0.1:5000": {"plain_http": true},
      "localhost:1": {"plain_http": false}, "localhost:2": {"ca": "/ca.pem"}}})");
  EXPECT_THAT(Urls(config, "10.0.0.1:5000"), ElementsAre("http://10.0.0.1:5000"));
  EXPECT_THAT(Urls(config, "localhost:1"), ElementsAre("https://localhost:1"));
  EXPECT_THAT(Urls(config, "localhost:2"), ElementsAre("https://localhost:2"));
  config.AllowPlainHttp("a.example");
  EXPECT_THAT(Urls(config, "a.example"), ElementsAre("http://a.example"));
}

TEST(Config, MirrorsComeInOrderBeforeTheRegistry) {
  Config config = *Config::Parse(R"({"registries": {"docker.io": {"mirrors":
      ["http://127.0.0.1:5000", "m.example.com/hub/", "https://x.example.com/v2/"]},
      "m.example.com": {"insecure": true, "ca": "/c.pem"}}})");
  EXPECT_THAT(Urls(config, "docker.io"), ElementsAre("http://127.0.0.1:5000", "https://m.example.com/hub",
                                                     "https://x.example.com", "https://registry-1.docker.io"));
  auto endpoints = config.Endpoints("docker.io");
  EXPECT_EQ(endpoints[0].ns, "docker.io");
  EXPECT_EQ(endpoints[1].host, "m.example.com");
  EXPECT_EQ(endpoints[1].tls, (net::Tls{.ca = "/c.pem", .insecure = true}));
  EXPECT_FALSE(endpoints[3].IsMirror());
  EXPECT_EQ(config.Origin("docker.io").url, "https://registry-1.docker.io");
}

TEST(Config, TheDefaultFillsWhatAnEntryLeavesOut) {
  Config config = *Config::Parse(R"({"default": {"mirrors": ["http://cache.example"], "ca": "/d"},
      "registries": {"a.example": {"mirrors": []}, "b.example": {"ca": "/b"}}})");
  EXPECT_THAT(Urls(config, "a.example"), ElementsAre("https://a.example"));
  EXPECT_THAT(Urls(config, "b.example"), ElementsAre("http://cache.example", "https://b.example"));
  EXPECT_EQ(config.Origin("b.example").tls.ca, "/b");
  EXPECT_EQ(config.Origin("c.example").tls.ca, "/d");
}

TEST(Config, AClientsCertificateComesWithItsKey) {
  Config config = *Config::Parse(R"({"registries": {
      "localhost:1": {"certificate": "/c.pem", "key": "/k.pem"}}})");
  EXPECT_EQ(config.Origin("localhost:1").tls, (net::Tls{.certificate = "/c.pem", .key = "/k.pem"}));
  EXPECT_THAT(Urls(config, "localhost:1"), ElementsAre("https://localhost:1"));
  EXPECT_EQ(config.Origin("localhost:2").tls, net::Tls());
  EXPECT_THAT(Config::Parse(R"({"registries": {"a": {"certificate": "/c"}}})").error().message,
              HasSubstr("certificate and key of a belong together"));
}

TEST(Config, ARegistryIsNotItsOwnMirror) {
  Config config = *Config::Parse(R"({"default": {"mirrors": ["http://127.0.0.1:5000"]}})");
  EXPECT_THAT(Urls(config, "127.0.0.1:5000"), ElementsAre("http://127.0.0.1:5000"));
}

TEST(Config, MistakesAreNamed) {
  auto message = [](const char* text) { return Config::Parse(text).error().ToString(); };
  EXPECT_THAT(message(R"({"registries": {"a": {"mirors": []}}})"), HasSubstr("did you mean \"mirrors\"?"));
  EXPECT_THAT(message(R"({"registry": {}})"), HasSubstr("unknown member \"registry\""));
  EXPECT_THAT(message(R"({"registries": {"a": {"mirrors": "x"}}})"), HasSubstr("no list"));
  EXPECT_THAT(message(R"({"registries": {"a": {"mirrors": ["ftp://x"]}}})"), HasSubstr("ftp://x"));
  EXPECT_THAT(message(R"({"registries": {"a": {"insecure": 1}}})"), HasSubstr("insecure of a"));
  std::string secret = message(R"({"registries": {"a": {"mirrors": ["http://u:pw@x"]}}})");
  EXPECT_THAT(secret, ::testing::Not(HasSubstr("pw")));
  EXPECT_FALSE(Config::Parse("[]"));
  EXPECT_FALSE(Config::Parse("{"));
}

TEST(Config, FilesAreReadAndNamedInErrors) {
  std::string path = ::testing::TempDir() + "/varve-registries.json";
  ASSERT_TRUE(WriteFileAtomically(path, R"({"registries": {"docker.io": {"mirrors": ["http://m"]}}})"));
  EXPECT_THAT(Urls(*Config::Load(path), "docker.io"), ElementsAre("http://m", "https://registry-1.docker.io"));
  ASSERT_TRUE(WriteFileAtomically(path, "nonsense"));
  EXPECT_THAT(Config::Load(path).error().message, HasSubstr(path));
  std::filesystem::remove(path);
  EXPECT_EQ(Config::Load(path).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace varve::registry
