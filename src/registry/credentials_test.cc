#include "registry/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "base/hex.h"

namespace varve::registry {
namespace {

using ::testing::HasSubstr;

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest() { std::filesystem::create_directories(directory_); }
  ~CredentialsTest() override {
    std::filesystem::remove_all(directory_);
    if (path_changed_) setenv("PATH", old_path_.c_str(), 1);
  }

  void Config(const std::string& text) { ASSERT_TRUE(WriteFileAtomically(directory_ + "/config.json", text)); }

  void Helper(const std::string& name, const std::string& script) {
    std::string file = directory_ + "/docker-credential-" + name;
    ASSERT_TRUE(WriteFileAtomically(file, "#!/bin/sh\n" + script, 0755));
    chmod(file.c_str(), 0755);
    if (path_changed_) return;
    old_path_ = std::getenv("PATH");
    path_changed_ = true;
    setenv("PATH", (directory_ + ":" + old_path_).c_str(), 1);
  }

  Result<std::optional<Credential>> Find(const std::string& host) { return CredentialStore(directory_).Find(host, {}); }

  std::string directory_ = ::testing::TempDir() + "/varve-credentials";
  std::string old_path_;
  bool path_changed_ = false;
};

TEST_F(CredentialsTest, NoFileAndNoEntryAreNoCredentials) {
  EXPECT_EQ(*Find("a.example"), std::nullopt);
  Config("{}");
  EXPECT_EQ(*Find("a.example"), std::nullopt);
  EXPECT_EQ(*CredentialStore("").Find("a.example", {}), std::nullopt);
}

TEST_F(CredentialsTest, EntriesOfAllForms) {
  Config(R"({"auths": {"a.example": {"auth": ")" + Base64Encode("ann:p:w") + R"("},
      "https://b.example/v1/": {"username": "bob", "password": "x"},
      "c.example:5000": {"identitytoken": "refresh", "auth": ")" +
         Base64Encode("00:") + R"("},
      "d.example": {}}})");
  EXPECT_EQ(*Find("a.example"), (Credential{.username = "ann", .password = "p:w"}));
  EXPECT_EQ(*Find("b.example"), (Credential{.username = "bob", .password = "x"}));
  EXPECT_EQ((*Find("c.example:5000"))->identity_token, "refresh");
  EXPECT_EQ(*Find("c.example"), std::nullopt);
  EXPECT_EQ(*Find("d.example"), std::nullopt);
}

TEST_F(CredentialsTest, DockerHubsEntryServesItsRegistry) {
  Config(R"({"auths": {"https://index.docker.io/v1/": {"username": "hub", "password": "x"}}})");
  EXPECT_EQ((*Find("registry-1.docker.io"))->username, "hub");
}

TEST_F(CredentialsTest, ABrokenEntryIsAnErrorThatSaysWhatToDo) {
  Config(R"({"auths": {"a.example": {"auth": "!!"}}})");
  EXPECT_THAT(Find("a.example").error().hint, HasSubstr("docker login a.example"));
  Config("nonsense");
  EXPECT_THAT(Find("a.example").error().message, HasSubstr("config.json"));
}

TEST_F(CredentialsTest, HelpersAreAskedWithTheServersName) {
  Helper("one", R"(read server; echo "{\"Username\":\"$1\",\"Secret\":\"$server\"}")");
  Helper("all", R"(read server; echo "{\"Username\":\"<token>\",\"Secret\":\"$server\"}")");
  Config(R"({"credHelpers": {"a.example": "one"}, "credsStore": "all"})");
  EXPECT_EQ(*Find("a.example"), (Credential{.username = "get", .password = "a.example"}));
  EXPECT_EQ((*Find("b.example"))->identity_token, "b.example");
  EXPECT_EQ((*Find("registry-1.docker.io"))->identity_token, "https://index.docker.io/v1/");
}

TEST_F(CredentialsTest, AHelperWithoutAnAnswerLeavesItToTheFile) {
  Helper("none", "echo credentials not found in native keychain; exit 1");
  Config(R"({"credsStore": "none", "auths": {"a.example": {"username": "u", "password": "p"}}})");
  EXPECT_EQ((*Find("a.example"))->username, "u");
  EXPECT_EQ(*Find("b.example"), std::nullopt);
}

TEST_F(CredentialsTest, FailingHelpersAreErrorsWithoutTheirOutput) {
  Helper("bad", "echo secret-thing; exit 1");
  Helper("odd", "echo no json");
  Config(R"({"credHelpers": {"a": "bad", "b": "odd", "c": "absent-helper", "d": "../x"}})");
  EXPECT_THAT(Find("a").error().ToString(), HasSubstr("docker-credential-bad fails for a"));
  EXPECT_THAT(Find("a").error().ToString(), ::testing::Not(HasSubstr("secret-thing")));
  EXPECT_THAT(Find("b").error().message, HasSubstr("something else than JSON"));
  EXPECT_THAT(Find("c").error().message, HasSubstr("is not installed"));
  EXPECT_THAT(Find("d").error().message, HasSubstr("slash"));
}

TEST_F(CredentialsTest, AHelperThatHangsEndsWithTheStop) {
  Helper("slow", "exec sleep 1000");
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(AskCredentialHelper("slow", "a", stop.get_token()).error().code, Code::kCancelled);
}

TEST_F(CredentialsTest, AnswersAreRemembered) {
  Helper("count", "echo x >> \"" + directory_ + "/calls\"; echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
  Config(R"({"credsStore": "count"})");
  CredentialStore store(directory_);
  ASSERT_TRUE(store.Find("a", {}));
  ASSERT_TRUE(store.Find("a", {}));
  EXPECT_EQ(*ReadFile(directory_ + "/calls"), "x\n");
}

TEST(CredentialLookup, IsAskedOnceForAHostAndInsteadOfFiles) {
  std::vector<std::string> asked;
  CredentialStore store("/nowhere", [&](const std::string& host, std::stop_token) {
    asked.push_back(host);
    return Result<std::optional<Credential>>(Credential{.username = "me", .password = "p"});
  });
  for (int i = 0; i < 2; ++i) {
    auto found = store.Find("docker.io", {});
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->username, "me");
  }
  EXPECT_EQ(asked, (std::vector<std::string>{"registry-1.docker.io"}));
}

}  // namespace
}  // namespace varve::registry
