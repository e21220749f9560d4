#include "objects/aws_credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/fd.h"
#include "net/testing/http_server.h"
#include "objects/s3_store.h"

namespace varve::objects {
namespace {

using net::testing::HttpServer;
using net::testing::ServerReply;
using net::testing::ServerRequest;
using ::testing::HasSubstr;

class AwsCredentialsTest : public ::testing::Test {
 protected:
  AwsCredentialsTest() {
    home_ = std::filesystem::path(::testing::TempDir()) /
            ("aws-" + std::to_string(getpid()) + "-" + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(home_ / ".aws");
    env_["HOME"] = home_;
    env_["AWS_EC2_METADATA_DISABLED"] = "true";
  }
  ~AwsCredentialsTest() override { std::filesystem::remove_all(home_); }

  Environment Env() {
    return [this](const std::string& name) {
      auto found = env_.find(name);
      return found == env_.end() ? std::string() : found->second;
    };
  }
  void Write(const std::string& name, const std::string& text) { ASSERT_TRUE(WriteFileAtomically(home_ / name, text)); }
  Result<AwsCredentials> Get(const std::string& profile = "", AwsKeys keys = {}) {
    return AwsCredentialChain(http_, clock_, Env(), keys, profile, "eu-west-9").Get({});
  }

  std::filesystem::path home_;
  std::map<std::string, std::string> env_;
  net::HttpClient http_;
  FakeClock clock_;
};

constexpr const char* kFile =
    "# comment\n[default]\naws_access_key_id = D\naws_secret_access_key=ds=x\n\n"
    "[ci]\naws_access_key_id=C\naws_secret_access_key=cs\naws_session_token=ct\n";

TEST_F(AwsCredentialsTest, OptionsComeFirst) {
  env_["AWS_ACCESS_KEY_ID"] = "E";
  env_["AWS_SECRET_ACCESS_KEY"] = "es";
  auto got = Get("", {"O", "os", "ot"});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->keys.access_key_id, "O");
  EXPECT_EQ(Get("", {"O", "", ""}).error().code, Code::kInvalid);
}

TEST_F(AwsCredentialsTest, TheEnvironmentComesBeforeTheFiles) {
  Write(".aws/credentials", kFile);
  EXPECT_EQ(Get()->keys.access_key_id, "D");
  EXPECT_EQ(Get()->keys.secret_access_key, "ds=x");
  env_["AWS_ACCESS_KEY_ID"] = "E";
  env_["AWS_SECRET_ACCESS_KEY"] = "es";
  env_["AWS_SESSION_TOKEN"] = "et";
  auto got = Get();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->keys.access_key_id, "E");
  EXPECT_EQ(got->keys.session_token, "et");
  EXPECT_EQ(got->source, "environment");
}

TEST_F(AwsCredentialsTest, AProfileIsChosenByOptionOrEnvironment) {
  Write(".aws/credentials", kFile);
  EXPECT_EQ(Get("ci")->keys.session_token, "ct");
  env_["AWS_PROFILE"] = "ci";
  EXPECT_EQ(Get()->keys.access_key_id, "C");
  auto none = Get("staging");
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message, HasSubstr("\"staging\""));
}

TEST_F(AwsCredentialsTest, AProfileThatNeedsAnotherProgramSaysSo) {
  Write(".aws/config", "[profile sso]\nsso_session = corp\n[profile r]\nrole_arn = a\nsource_profile = b\n");
  for (const char* profile : {"sso", "r"}) {
    auto got = Get(profile);
    ASSERT_FALSE(got);
    EXPECT_THAT(got.error().message, HasSubstr("which varve does not do"));
    EXPECT_THAT(got.error().hint, HasSubstr("export-credentials"));
  }
}

TEST_F(AwsCredentialsTest, BadFilesNameTheLine) {
  Write(".aws/credentials", "[default]\nrubbish\n");
  auto got = Get();
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr(".aws/credentials: line 2"));
}

TEST_F(AwsCredentialsTest, AWebIdentityIsExchangedAtSts) {
  ServerRequest seen;
  HttpServer sts([&](const ServerRequest& request) {
    seen = request;
    return ServerReply{.body = R"(<AssumeRoleWithWebIdentityResponse xmlns="https://sts/">
      <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>tok</SessionToken>
      <SecretAccessKey>sec</SecretAccessKey><Expiration>2030-01-01T00:00:00Z</Expiration>
      <AccessKeyId>ASIA1</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>
      </AssumeRoleWithWebIdentityResponse>)"};
  });
  Write("token", "jwt.a.b\n");
  env_["AWS_WEB_IDENTITY_TOKEN_FILE"] = home_ / "token";
  env_["AWS_ENDPOINT_URL_STS"] = sts.Url("");
  EXPECT_THAT(Get().error().message, HasSubstr("AWS_ROLE_ARN"));
  env_["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/ci";
  auto got = Get();
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->keys.access_key_id, "ASIA1");
  EXPECT_EQ(got->keys.secret_access_key, "sec");
  EXPECT_EQ(got->keys.session_token, "tok");
  EXPECT_TRUE(got->expires);
  EXPECT_EQ(seen.body,
            "Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fci&"
            "RoleSessionName=varve&Version=2011-06-15&WebIdentityToken=jwt.a.b");
}

TEST_F(AwsCredentialsTest, ARefusalOfStsIsShownWithoutTheToken) {
  HttpServer sts([](const ServerRequest&) {
    return ServerReply{.status = 403,
                       .body =
                           "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not "
                           "authorized</Message></Error></ErrorResponse>"};
  });
  Write("token", "jwt.a.b");
  env_["AWS_WEB_IDENTITY_TOKEN_FILE"] = home_ / "token";
  env_["AWS_ROLE_ARN"] = "arn:r";
  env_["AWS_ENDPOINT_URL_STS"] = sts.Url("");
  auto got = Get();
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("403 AccessDenied Not authorized"));
  EXPECT_THAT(got.error().ToString(), ::testing::Not(HasSubstr("jwt")));
}

TEST_F(AwsCredentialsTest, AContainersRoleNeedsItsToken) {
  HttpServer agent([](const ServerRequest& request) {
    if (request.Header("authorization") != "Bearer x") return ServerReply{.status = 401};
    return ServerReply{
        .body = R"({"AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T00:00:00Z"})"};
  });
  env_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = agent.Url("/v1/credentials");
  EXPECT_FALSE(Get());
  Write("agent", "Bearer x\n");
  env_["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = home_ / "agent";
  auto got = Get();
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->keys.session_token, "t");
  env_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://example.com/steal";
  EXPECT_EQ(Get().error().code, Code::kInvalid);
}

TEST_F(AwsCredentialsTest, AnInstancesRoleIsReadWithASessionToken) {
  HttpServer metadata([](const ServerRequest& request) {
    if (request.method == "PUT") return ServerReply{.body = "session"};
    if (request.Header("x-aws-ec2-metadata-token") != "session") return ServerReply{.status = 401};
    if (request.path.ends_with("/security-credentials/")) return ServerReply{.body = "runner"};
    return ServerReply{.body = R"({"Code":"Success","AccessKeyId":"I","SecretAccessKey":"s","Token":"t"})"};
  });
  env_["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = metadata.Url("/");
  EXPECT_FALSE(Get());  // disabled
  env_["AWS_EC2_METADATA_DISABLED"] = "false";
  auto got = Get();
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->keys.access_key_id, "I");
  EXPECT_EQ(got->source, "instance role runner");
}

TEST_F(AwsCredentialsTest, NoneIsFoundOutOnce) {
  int asked = 0;
  HttpServer metadata([&](const ServerRequest&) {
    ++asked;
    return ServerReply{.status = 404};
  });
  env_["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = metadata.Url("");
  env_["AWS_EC2_METADATA_DISABLED"] = "";
  AwsCredentialChain chain(http_, clock_, Env(), {}, "", "r");
  for (int i = 0; i < 3; ++i) {
    auto got = chain.Get({});
    ASSERT_FALSE(got);
    EXPECT_THAT(got.error().message, HasSubstr("no AWS credentials"));
  }
  EXPECT_EQ(asked, 1);
}

TEST_F(AwsCredentialsTest, TheyAreFetchedAgainBeforeTheyExpire) {
  int fetched = 0;
  HttpServer agent([&](const ServerRequest&) {
    Timestamp expires{clock_.Now().nanos + 3600'000'000'000};
    return ServerReply{.body =
                           fmt::format(R"({{"AccessKeyId":"A{}","SecretAccessKey":"s","Token":"t","Expiration":"{}"}})",
                                       ++fetched, FormatTime(expires))};
  });
  env_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = agent.Url("/");
  AwsCredentialChain chain(http_, clock_, Env(), {}, "", "r");
  EXPECT_EQ(chain.Get({})->keys.access_key_id, "A1");
  clock_.Advance(std::chrono::minutes(54));
  EXPECT_EQ(chain.Get({})->keys.access_key_id, "A1");
  clock_.Advance(std::chrono::minutes(2));
  EXPECT_EQ(chain.Get({})->keys.access_key_id, "A2");
}

TEST_F(AwsCredentialsTest, OptionsTakeTheirPlacesFromTheEnvironment) {
  std::map<std::string, std::string> attributes{{"mode", "max"}};
  EXPECT_THAT(TakeS3Options(attributes, Env()).error().message, HasSubstr("no bucket"));
  env_["AWS_BUCKET"] = "b";
  EXPECT_THAT(TakeS3Options(attributes, Env()).error().message, HasSubstr("no region"));
  Write(".aws/config", "[default]\nregion = eu-x\n");
  EXPECT_EQ(TakeS3Options(attributes, Env())->region, "eu-x");
  env_["AWS_DEFAULT_REGION"] = "eu-y";
  EXPECT_EQ(TakeS3Options(attributes, Env())->region, "eu-y");
  attributes = {{"mode", "max"},
                {"bucket", "c"},
                {"region", "eu-z"},
                {"prefix", "p/"},
                {"use_path_style", "true"},
                {"upload_parallelism", "7"},
                {"retry_mode", "adaptive"},
                {"endpoint_url", "http://h:1"},
                {"name", "n"}};
  auto options = TakeS3Options(attributes, Env());
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->bucket, "c");
  EXPECT_EQ(options->region, "eu-z");
  EXPECT_EQ(options->upload_parallelism, 7u);
  EXPECT_TRUE(options->use_path_style);
  EXPECT_EQ(attributes.size(), 2u);  // mode and name are the tier's
  for (auto [name, value] :
       {std::pair("use_path_style", "maybe"), std::pair("retry_mode", "never"), std::pair("upload_parallelism", "0")}) {
    std::map<std::string, std::string> bad{{name, value}};
    EXPECT_THAT(TakeS3Options(bad, Env()).error().message, HasSubstr(value));
  }
}

}  // namespace
}  // namespace varve::objects
