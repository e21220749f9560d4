#include "registry/auth.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/fd.h"
#include "base/hex.h"
#include "base/thread_pool.h"
#include "registry/testing/client_fixture.h"

namespace varve::registry {
namespace {

using testing::FakeRegistry;
using ::testing::HasSubstr;
using ::testing::Not;

class AuthTest : public testing::ClientTest {
 protected:
  AuthTest() { std::filesystem::create_directories(directory_); }
  ~AuthTest() override { std::filesystem::remove_all(directory_); }

  Client& LogIn(const FakeRegistry& server, const std::string& entry) {
    Json document = Json().Set("auths", Json().Set(server.Address(), *Json::Parse(entry)));
    EXPECT_TRUE(WriteFileAtomically(directory_ + "/config.json", document.Dump()));
    return Use({}, directory_);
  }

  static std::string Password(const std::string& text) { return R"({"auth":")" + Base64Encode(text) + R"("})"; }

  std::string directory_ = ::testing::TempDir() + "/varve-auth";
};

TEST_F(AuthTest, BasicIsSentOnceItIsAskedFor) {
  FakeRegistry server({.basic = "ann:secret-word"});
  server.AddImage("app", "v1", "linux/amd64", {"layer"});
  Client& client = LogIn(server, Password("ann:secret-word"));
  oci::Reference ref = Ref(server.Address() + "/app:v1");
  ASSERT_TRUE(client.Resolve(ref, {}, {}));
  ASSERT_TRUE(client.Resolve(ref, {}, {}));
  EXPECT_EQ(server.Requests().size(), 3u);
}

TEST_F(AuthTest, WithoutCredentialsTheErrorSaysHowToLogIn) {
  FakeRegistry server({.basic = "ann:secret-word"});
  auto found = Use().Resolve(Ref(server.Address() + "/app:v1"), {}, {});
  EXPECT_EQ(found.error().code, Code::kInvalid);
  EXPECT_EQ(found.error().hint, "needs a login: run docker login " + server.Address());
}

TEST_F(AuthTest, RefusedCredentialsAreNotTriedForEver) {
  FakeRegistry server({.basic = "ann:secret-word"});
  Client& client = LogIn(server, Password("ann:wrong-word"));
  auto found = client.Resolve(Ref(server.Address() + "/app:v1"), {}, {});
  EXPECT_EQ(found.error().code, Code::kInvalid);
  EXPECT_THAT(found.error().ToString(), HasSubstr("docker login " + server.Address()));
  EXPECT_THAT(found.error().ToString(), Not(HasSubstr("wrong-word")));
  EXPECT_LE(server.Requests().size(), 4u);
}

TEST_F(AuthTest, AnAnonymousTokenServesPublicImages) {
  FakeRegistry server({.bearer = "anonymous"});
  oci::Descriptor image = server.AddImage("app", "v1", "linux/amd64", {"layer"});
  oci::Reference ref = Ref(server.Address() + "/app:v1");
  Client& client = Use();
  ASSERT_TRUE(client.Resolve(ref, {}, {}));
  ref.digest = image.digest;
  ASSERT_TRUE(client.FetchManifest(ref, {}));
  EXPECT_EQ(server.CountRequests("GET /token.*scope=repository%3Aapp%3Apull"), 1);
  EXPECT_EQ(server.Requests().size(), 4u);
}

TEST_F(AuthTest, ATokenIsBoughtWithNameAndPassword) {
  FakeRegistry server({.bearer = "bob:secret-word"});
  server.AddImage("app", "v1", "linux/amd64", {"layer"});
  oci::Reference ref = Ref(server.Address() + "/app:v1");
  EXPECT_TRUE(LogIn(server, Password("bob:secret-word")).Resolve(ref, {}, {}));
  EXPECT_EQ(server.CountRequests("GET /token.*service=fake.*account=bob"), 1);
  auto denied = LogIn(server, Password("bob:other")).Resolve(ref, {}, {});
  EXPECT_EQ(denied.error().code, Code::kInvalid);
  EXPECT_THAT(denied.error().hint, HasSubstr("docker login"));
}

TEST_F(AuthTest, ATokenIsBoughtWithARefreshToken) {
  FakeRegistry server({.bearer = "nobody:x", .refresh_token = "refresh-me"});
  server.AddImage("app", "v1", "linux/amd64", {"layer"});
  Client& client = LogIn(server, R"({"identitytoken":"refresh-me"})");
  auto found = client.Resolve(Ref(server.Address() + "/app:v1"), {}, {});
  ASSERT_TRUE(found) << found.error().ToString();
  EXPECT_EQ(server.CountRequests("POST /token"), 1);
}

TEST_F(AuthTest, AnExpiredTokenIsReplacedBeforeItIsRefused) {
  FakeRegistry server({.bearer = "anonymous", .token_seconds = 100});
  server.AddImage("app", "v1", "linux/amd64", {"layer"});
  oci::Reference ref = Ref(server.Address() + "/app:v1");
  Client& client = Use();
  ASSERT_TRUE(client.Resolve(ref, {}, {}));
  clock_.Advance(std::chrono::seconds(80));
  ASSERT_TRUE(client.Resolve(ref, {}, {}));
  EXPECT_EQ(server.CountRequests("/token"), 1);
  clock_.Advance(std::chrono::seconds(11));
  ASSERT_TRUE(client.Resolve(ref, {}, {}));
  EXPECT_EQ(server.CountRequests("/token"), 2);
  EXPECT_EQ(server.CountRequests("HEAD"), 4);
}

TEST_F(AuthTest, ARevokedTokenIsReplaced) {
  FakeRegistry server({.bearer = "anonymous"});
  server.AddImage("app", "v1", "linux/amd64", {"layer"});
  oci::Reference ref = Ref(server.Address() + "/app:v1");
  Client& client = Use();
  ASSERT_TRUE(client.Resolve(ref, {}, {}));
  server.RevokeTokens();
  EXPECT_TRUE(client.Resolve(ref, {}, {}));
}

TEST_F(AuthTest, PushingAsksForMoreThanPulling) {
  FakeRegistry server({.bearer = "anonymous"});
  Client& client = Use();
  oci::Reference ref = Ref(server.Address() + "/team/app:v1");
  auto open = [](uint64_t at) -> Result<std::unique_ptr<Reader>> {
    return std::make_unique<StringReader>(std::string_view("content").substr(at));
  };
  auto pushed = client.PushBlob(ref, Blob("content"), open, {"other/app"}, {});
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(server.CountRequests("/token.*repository%3Ateam%2Fapp%3Apull%2Cpush"), 2);
  EXPECT_EQ(server.CountRequests("/token.*repository%3Aother%2Fapp%3Apull"), 1);
  EXPECT_EQ(server.Blob("team/app", Digest::Of("content")), "content");
}

TEST_F(AuthTest, TheRealmIsTriedAgainWhenItStumbles) {
  FakeRegistry server({.bearer = "anonymous"});
  server.AddImage("app", "v1", "linux/amd64", {"layer"});
  int failures = 2;
  net::testing::HttpServer realm([&](const net::testing::ServerRequest&) {
    if (failures-- > 0) return net::testing::ServerReply{.status = 503};
    return net::testing::ServerReply{.body = R"({"token":"t"})"};
  });
  net::Response refusal{.status = 401, .headers = {{"WWW-Authenticate", "Bearer realm=\"" + realm.Url("/t") + "\""}}};
  CredentialStore credentials("");
  Authenticator authenticator(http_, credentials, clock_, sleeper_, {});
  Endpoint endpoint{.url = "https://registry.invalid", .host = "registry.invalid"};
  auto header = authenticator.Answer(endpoint, {PullScope("a")}, refusal, "", {});
  ASSERT_TRUE(header) << header.error().ToString();
  EXPECT_EQ(*header, "Bearer t");
  EXPECT_EQ(*authenticator.HeaderFor(endpoint, {PullScope("a")}, {}), "Bearer t");
}

TEST_F(AuthTest, CredentialsDoNotLeaveTls) {
  net::Response refusal{.status = 401, .headers = {{"WWW-Authenticate", "Bearer realm=\"http://evil.invalid/t\""}}};
  CredentialStore credentials("");
  Authenticator authenticator(http_, credentials, clock_, sleeper_, {});
  Endpoint endpoint{.url = "https://registry.invalid", .host = "registry.invalid"};
  auto header = authenticator.Answer(endpoint, {PullScope("a")}, refusal, "", {});
  EXPECT_EQ(header.error().code, Code::kInvalid);
  EXPECT_THAT(header.error().message, HasSubstr("without encryption"));
}

// A daemon's client fetches tokens by itself: its password is not asked for.
struct Others {
  std::optional<TokenRequest> asked;
  Result<std::optional<BearerToken>> answer = std::optional(BearerToken{"theirs", 300});
  bool asked_for_password = false;
  CredentialStore store{"",
                        [this](const std::string&, std::stop_token) -> Result<std::optional<Credential>> {
                          asked_for_password = true;
                          return std::optional<Credential>();
                        },
                        [this](const TokenRequest& request, std::stop_token) {
                          asked = request;
                          return answer;
                        }};
};

const Endpoint kElsewhere{.url = "https://registry.invalid", .host = "registry.invalid"};

net::Response Challenge401(const std::string& realm) {
  return {
      .status = 401,
      .headers = {{"WWW-Authenticate", "Bearer realm=\"" + realm + "\",service=\"s\",scope=\"repository:b:pull\""}}};
}

TEST_F(AuthTest, ATokenThatOthersFetchIsUsedUntilItRunsOut) {
  Others others;
  Authenticator authenticator(http_, others.store, clock_, sleeper_, {});
  auto header = authenticator.Answer(kElsewhere, {PullScope("a")}, Challenge401("https://t.invalid/t"), "", {});
  ASSERT_TRUE(header) << header.error().ToString();
  EXPECT_EQ(*header, "Bearer theirs");
  ASSERT_TRUE(others.asked);
  EXPECT_EQ(others.asked->host, "registry.invalid");
  EXPECT_EQ(others.asked->realm, "https://t.invalid/t");
  EXPECT_EQ(others.asked->service, "s");
  EXPECT_EQ(others.asked->scopes, (std::vector<std::string>{"repository:a:pull", "repository:b:pull"}));
  EXPECT_FALSE(others.asked_for_password);
  others.answer = std::optional(BearerToken{"next", 300});
  EXPECT_EQ(*authenticator.HeaderFor(kElsewhere, {PullScope("a")}, {}), "Bearer theirs");
  clock_.Advance(std::chrono::seconds(290));
  EXPECT_EQ(*authenticator.HeaderFor(kElsewhere, {PullScope("a")}, {}), "Bearer next");
}

TEST_F(AuthTest, OthersThatFetchNoTokensAreAskedForCredentials) {
  Others others;
  others.answer = std::optional<BearerToken>();
  net::testing::HttpServer realm([&](const net::testing::ServerRequest&) {
    return net::testing::ServerReply{.body = R"({"token":"anonymous"})"};
  });
  Authenticator authenticator(http_, others.store, clock_, sleeper_, {});
  auto header = authenticator.Answer(kElsewhere, {PullScope("a")}, Challenge401(realm.Url("/t")), "", {});
  ASSERT_TRUE(header) << header.error().ToString();
  EXPECT_EQ(*header, "Bearer anonymous");
  EXPECT_TRUE(others.asked_for_password);
}

TEST_F(AuthTest, OthersAreNotSentToARealmWithoutTls) {
  Others others;
  Authenticator authenticator(http_, others.store, clock_, sleeper_, {});
  auto header = authenticator.Answer(kElsewhere, {PullScope("a")}, Challenge401("http://evil.invalid/t"), "", {});
  EXPECT_EQ(header.error().code, Code::kInvalid);
  EXPECT_FALSE(others.asked);
}

TEST_F(AuthTest, ARefusalOfOthersSaysHowToLogIn) {
  Others others;
  others.answer = Invalid("401 Unauthorized");
  Authenticator authenticator(http_, others.store, clock_, sleeper_, {});
  auto header = authenticator.Answer(kElsewhere, {PullScope("a")}, Challenge401("https://t.invalid/t"), "", {});
  EXPECT_EQ(header.error().message, "registry.invalid refuses access: 401 Unauthorized");
  EXPECT_THAT(header.error().hint, HasSubstr("docker login registry.invalid"));
}

TEST_F(AuthTest, ABrokenHelperDoesNotStopPublicPulls) {
  ASSERT_TRUE(WriteFileAtomically(directory_ + "/config.json", R"({"credsStore":"surely-absent-helper"})"));
  FakeRegistry open({.bearer = "anonymous"});
  open.AddImage("app", "v1", "linux/amd64", {"layer"});
  EXPECT_TRUE(Use({}, directory_).Resolve(Ref(open.Address() + "/app:v1"), {}, {}));
  FakeRegistry closed({.basic = "a:b"});
  auto denied = Use({}, directory_).Resolve(Ref(closed.Address() + "/app:v1"), {}, {});
  EXPECT_THAT(denied.error().hint, HasSubstr("docker-credential-surely-absent-helper"));
}

TEST_F(AuthTest, ManyThreadsLogInAtOnce) {
  FakeRegistry server({.bearer = "anonymous"});
  server.AddImage("app", "v1", "linux/amd64", {"layer"});
  Client& client = Use();
  oci::Reference ref = Ref(server.Address() + "/app:v1");
  Status status = ParallelFor(40, 8, [&](size_t) -> Status {
    TRY(client.Resolve(ref, {}, {}));
    return Ok();
  });
  EXPECT_TRUE(status) << status.error().ToString();
}

}  // namespace
}  // namespace varve::registry
