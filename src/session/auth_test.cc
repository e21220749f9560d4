#include "session/auth.h"

#include <gtest/gtest.h>

#include "api/auth.grpc.pb.h"
#include "session/testing/fake_client.h"
#include "session/testing/fake_daemon.h"

namespace varve::session {
namespace {

using testing::FakeClient;
using testing::FakeDaemon;
namespace api = moby::filesync::v1;

class FakeAuth final : public api::Auth::Service {
 public:
  grpc::Status Credentials(grpc::ServerContext*, const api::CredentialsRequest* request,
                           api::CredentialsResponse* response) override {
    if (request->host() != "r.example.com") return grpc::Status::OK;
    response->set_username("ann");
    response->set_secret("word");
    return grpc::Status::OK;
  }
  grpc::Status GetTokenAuthority(grpc::ServerContext*, const api::GetTokenAuthorityRequest* request,
                                 api::GetTokenAuthorityResponse* response) override {
    salt = request->salt();
    if (authority.ok()) response->set_public_key("key");
    return authority;
  }
  grpc::Status FetchToken(grpc::ServerContext*, const api::FetchTokenRequest* request,
                          api::FetchTokenResponse* response) override {
    asked = *request;
    *response = answer;
    return fetched;
  }

  std::string salt;
  grpc::Status authority, fetched;
  api::FetchTokenRequest asked;
  api::FetchTokenResponse answer;
};

struct AuthTest : ::testing::Test {
  FakeAuth auth;
  std::unique_ptr<FakeDaemon> daemon = std::make_unique<FakeDaemon>();
  std::unique_ptr<FakeClient> client;
  std::shared_ptr<Session> session;
  TokenQuestion question{.host = "r.example.com",
                         .realm = "https://auth.example.com/token",
                         .service = "r",
                         .scopes = {"repository:a:pull", "repository:b:pull,push"}};

  AuthTest() {
    Open({"/moby.filesync.v1.Auth/Credentials", "/moby.filesync.v1.Auth/FetchToken",
          "/moby.filesync.v1.Auth/GetTokenAuthority", "/moby.filesync.v1.Auth/VerifyTokenAuthority"});
  }
  void Open(std::vector<std::string> methods) {
    client.reset();
    client =
        std::make_unique<FakeClient>(daemon->Connect(), testing::FakeClientOptions{.id = "s" + std::to_string(++opened),
                                                                                   .services = {&auth},
                                                                                   .methods = std::move(methods)});
    session = *daemon->sessions().Find("s" + std::to_string(opened), {});
  }
  int opened = 0;
};

TEST_F(AuthTest, TheClientFetchesTheToken) {
  auth.answer.set_token("granted");
  auth.answer.set_expires_in(300);
  auto token = FetchToken(*session, question, SystemClock(), {});
  ASSERT_TRUE(token) << token.error().message;
  ASSERT_TRUE(*token);
  EXPECT_EQ((*token)->token, "granted");
  EXPECT_EQ((*token)->seconds, 300);
  EXPECT_EQ(auth.salt.size(), 32u);
  EXPECT_EQ(auth.asked.realm(), question.realm);
  EXPECT_EQ(auth.asked.service(), "r");
  ASSERT_EQ(auth.asked.scopes_size(), 2);
  EXPECT_EQ(auth.asked.scopes(1), "repository:b:pull,push");
}

TEST_F(AuthTest, ATokenThatWasIssuedEarlierIsGoodForLess) {
  auth.answer.set_token("granted");
  auth.answer.set_expires_in(3000);
  auth.answer.set_issued_at(SystemClock().Now().seconds() - 1000);
  auto token = FetchToken(*session, question, SystemClock(), {});
  ASSERT_TRUE(token && *token);
  EXPECT_LE((*token)->seconds, 2000);
}

TEST_F(AuthTest, WithoutAnAuthorityThereIsNoToken) {
  for (auto code : {grpc::StatusCode::UNIMPLEMENTED, grpc::StatusCode::UNAVAILABLE}) {
    auth.authority = {code, "client side tokens disabled"};
    auto token = FetchToken(*session, question, SystemClock(), {});
    ASSERT_TRUE(token) << token.error().message;
    EXPECT_FALSE(*token);
  }
}

TEST_F(AuthTest, AnOldClientHasCredentialsAlone) {
  Open({"/moby.filesync.v1.Auth/Credentials"});
  auto token = FetchToken(*session, question, SystemClock(), {});
  ASSERT_TRUE(token);
  EXPECT_FALSE(*token);
  auto login = GetLogin(*session, "r.example.com", {});
  ASSERT_TRUE(login && *login);
  EXPECT_EQ((*login)->username, "ann");
  EXPECT_EQ((*login)->secret, "word");
  EXPECT_FALSE(*GetLogin(*session, "other.example.com", {}));
}

TEST_F(AuthTest, ARefusalIsTheTokenServersInItsWords) {
  auth.fetched = {grpc::StatusCode::UNKNOWN, "failed to authorize: 401 Unauthorized"};
  auto token = FetchToken(*session, question, SystemClock(), {});
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().code, Code::kInvalid);
  EXPECT_NE(token.error().message.find("401 Unauthorized"), std::string::npos) << token.error().message;
}

TEST_F(AuthTest, AnEmptyTokenIsNone) {
  auto token = FetchToken(*session, question, SystemClock(), {});
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().message, "the client has no token for r.example.com");
}

}  // namespace
}  // namespace varve::session
