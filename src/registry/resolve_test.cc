#include <gmock/gmock.h>

#include <filesystem>

#include "base/metric.h"
#include "net/testing/certificate.h"
#include "registry/testing/client_fixture.h"

namespace varve::registry {
namespace {

using testing::FakeRegistry;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RegistryOptions;

class ResolveTest : public testing::ClientTest {
 protected:
  // docker.io by way of these mirrors; Docker Hub itself is an address where nobody listens.
  static Config Mirrors(const std::vector<std::string>& urls) {
    Config config;
    config.Set("docker.io", {.mirrors = urls});
    return config;
  }

  oci::Platform amd64_ = *oci::ParsePlatform("linux/amd64");
};

TEST_F(ResolveTest, ATagBecomesADigestWithoutItsManifest) {
  FakeRegistry server;
  oci::Descriptor image = server.AddImage("team/app", "v1", "linux/amd64", {"layer"});
  auto found = Use().Resolve(Ref(server.Address() + "/team/app:v1"), amd64_, {});
  ASSERT_TRUE(found) << found.error().ToString();
  EXPECT_EQ(found->digest, image.digest);
  EXPECT_EQ(found->size, image.size);
  EXPECT_EQ(found->media_type, oci::kOciManifest);
  EXPECT_THAT(server.Requests(), ::testing::ElementsAre("HEAD /v2/team/app/manifests/v1"));
}

TEST_F(ResolveTest, RegistriesWithoutHeadOrDigestAreAskedForTheDocument) {
  for (RegistryOptions options : {RegistryOptions{.head = false}, RegistryOptions{.digest_header = false}}) {
    FakeRegistry server(options);
    oci::Descriptor image = server.AddImage("app", "v1", "linux/amd64", {"layer"});
    auto found = Use().Resolve(Ref(server.Address() + "/app:v1"), {}, {});
    ASSERT_TRUE(found) << found.error().ToString();
    EXPECT_EQ(found->digest, image.digest);
  }
}

TEST_F(ResolveTest, AnIndexGivesTheManifestOfThePlatform) {
  FakeRegistry server;
  oci::Index index;
  index.manifests = {server.AddImage("app", "", "linux/arm64", {"arm"}),
                     server.AddImage("app", "", "linux/amd64", {"amd"})};
  std::string text = oci::Serialise(index);
  server.AddManifest("app", "v1", index.media_type, text);
  oci::Reference ref = Ref(server.Address() + "/app:v1");
  auto found = Use().Resolve(ref, amd64_, {});
  ASSERT_TRUE(found) << found.error().ToString();
  EXPECT_EQ(found->digest, index.manifests[1].digest);
  EXPECT_EQ(Use().Resolve(ref, {}, {})->digest, Digest::Of(text));
  auto missing = Use().Resolve(ref, *oci::ParsePlatform("linux/s390x"), {});
  EXPECT_EQ(missing.error().code, Code::kInvalid);
  EXPECT_THAT(missing.error().message, HasSubstr("not made for linux/s390x"));
  EXPECT_EQ(missing.error().hint, "it is for linux/arm64, linux/amd64");
}

TEST_F(ResolveTest, AMissingImageNamesTheHostsThatWereAsked) {
  FakeRegistry server;
  auto found = Use().Resolve(Ref(server.Address() + "/app:none"), {}, {});
  EXPECT_EQ(found.error().code, Code::kNotFound);
  EXPECT_EQ(found.error().message, "image " + server.Address() + "/app:none not found");
  EXPECT_EQ(found.error().hint, "asked " + server.Url(""));
}

TEST_F(ResolveTest, AManifestIsVerifiedAgainstItsDigest) {
  FakeRegistry server;
  oci::Descriptor image = server.AddImage("app", "v1", "linux/amd64", {"layer"});
  oci::Reference ref = Ref(server.Address() + "/app@" + image.digest.ToString());
  auto document = Use().FetchManifest(ref, {});
  ASSERT_TRUE(document);
  EXPECT_EQ(Digest::Of(document->text), image.digest);
  EXPECT_EQ(document->descriptor.media_type, oci::kOciManifest);
  server.Fail({.pattern = "GET", .times = 1, .wrong_bytes = true});
  EXPECT_EQ(Use().FetchManifest(ref, {}).error().code, Code::kCorrupt);
}

TEST_F(ResolveTest, UntypedAnswersAreToldByTheirContent) {
  FakeRegistry server;
  oci::Manifest manifest{.config = Blob("config")};
  Json json = oci::ToJson(manifest);
  json.Erase("mediaType");
  server.AddManifest("app", "v1", "application/octet-stream", json.Dump());
  server.AddManifest("app", "old", "application/vnd.docker.distribution.manifest.v1+prettyjws",
                     R"({"schemaVersion":1})");
  auto document = Use().FetchManifest(Ref(server.Address() + "/app:v1"), {});
  ASSERT_TRUE(document) << document.error().message;
  EXPECT_EQ(document->descriptor.media_type, oci::kOciManifest);
  auto old = Use().FetchManifest(Ref(server.Address() + "/app:old"), {});
  EXPECT_EQ(old.error().code, Code::kInvalid);
  EXPECT_THAT(old.error().hint, HasSubstr("schema 1"));
}

TEST_F(ResolveTest, ManifestsBeyondFourMegabytesAreRefused) {
  FakeRegistry server;
  server.AddManifest("app", "v1", std::string(oci::kOciManifest), std::string((4 << 20) + 1, ' '));
  EXPECT_EQ(Use().FetchManifest(Ref(server.Address() + "/app:v1"), {}).error().code, Code::kInvalid);
}

TEST_F(ResolveTest, PassingFailuresAreTriedAgain) {
  FakeRegistry server;
  oci::Descriptor image = server.AddImage("app", "v1", "linux/amd64", {"layer"});
  int64_t retries = Counter("registry.retries").value();
  server.Fail({.pattern = "HEAD", .times = 2, .status = 500});
  server.Fail({.pattern = "HEAD", .times = 1, .status = 429, .retry_after = "7"});
  auto found = Use().Resolve(Ref(server.Address() + "/app:v1"), {}, {});
  ASSERT_TRUE(found) << found.error().ToString();
  EXPECT_EQ(found->digest, image.digest);
  EXPECT_EQ(Counter("registry.retries").value() - retries, 3);
  auto slept = sleeper_.slept.Lock();
  ASSERT_EQ(slept->size(), 3u);
  EXPECT_EQ(slept->back(), std::chrono::seconds(7));
}

TEST_F(ResolveTest, ARegistryThatStaysDownIsUnavailable) {
  FakeRegistry server;
  server.Fail({.pattern = "", .status = 503, .body = "<html>"});
  auto found = Use().Resolve(Ref(server.Address() + "/app:v1"), {}, {});
  EXPECT_EQ(found.error().code, Code::kUnavailable);
  EXPECT_THAT(found.error().message, HasSubstr(server.Address() + " answers 503"));
  EXPECT_EQ(server.CountRequests("HEAD"), 5);
}

TEST_F(ResolveTest, ALongerPauseThanAMinuteIsNotWaitedFor) {
  FakeRegistry server;
  server.Fail({.pattern = "", .status = 429, .retry_after = "3600"});
  auto found = Use().Resolve(Ref(server.Address() + "/app:v1"), {}, {});
  EXPECT_EQ(found.error().code, Code::kUnavailable);
  EXPECT_THAT(found.error().message, HasSubstr("429"));
  EXPECT_EQ(Sleeps(), 0u);
}

TEST_F(ResolveTest, NobodyListeningNamesTheAddress) {
  auto found = Use().Resolve(Ref("127.0.0.1:1/app:v1"), {}, {});
  EXPECT_EQ(found.error().code, Code::kUnavailable);
  EXPECT_THAT(found.error().message, HasSubstr("127.0.0.1:1"));
}

TEST_F(ResolveTest, MirrorsAreAskedInOrderAndToldTheRegistry) {
  FakeRegistry first, second;
  second.AddImage("library/node", "20", "linux/amd64", {"layer"});
  Client& client = Use(Mirrors({first.Url(""), second.Url("")}));
  ASSERT_TRUE(client.Resolve(Ref("node:20"), {}, {}));
  EXPECT_EQ(first.CountRequests("HEAD /v2/library/node/manifests/20.ns=docker.io"), 1);
  EXPECT_EQ(second.CountRequests("HEAD /v2/library/node/manifests/20.ns=docker.io"), 1);
}

TEST_F(ResolveTest, AMirrorThatIsDownIsPassedOverForAWhile) {
  FakeRegistry dead, alive;
  std::string dead_url = dead.Url("");
  dead.Stop();
  alive.AddImage("library/node", "20", "linux/amd64", {"layer"});
  Client& client = Use(Mirrors({dead_url, alive.Url("")}));
  ASSERT_TRUE(client.Resolve(Ref("node:20"), {}, {}));
  size_t sleeps = Sleeps();
  EXPECT_GT(sleeps, 0u);
  ASSERT_TRUE(client.Resolve(Ref("node:20"), {}, {}));
  EXPECT_EQ(Sleeps(), sleeps);
  clock_.Advance(std::chrono::minutes(2));
  ASSERT_TRUE(client.Resolve(Ref("node:20"), {}, {}));
  EXPECT_GT(Sleeps(), sleeps);
}

TEST_F(ResolveTest, WrongBytesOfAMirrorLeadToTheNextHost) {
  FakeRegistry bad, good;
  oci::Descriptor image = good.AddImage("library/node", "20", "linux/amd64", {"layer"});
  bad.AddImage("library/node", "20", "linux/amd64", {"layer"});
  bad.Fail({.pattern = "GET", .wrong_bytes = true});
  Client& client = Use(Mirrors({bad.Url(""), good.Url("")}));
  oci::Reference ref = Ref("node@" + image.digest.ToString());
  ASSERT_TRUE(client.FetchManifest(ref, {}));
  ASSERT_TRUE(client.FetchManifest(ref, {}));
  EXPECT_EQ(bad.CountRequests("GET"), 1);
}

TEST_F(ResolveTest, AStopEndsTheWaiting) {
  FakeRegistry server;
  server.Fail({.pattern = "", .status = 503});
  std::stop_source stop;
  stop.request_stop();
  auto found = Use().Resolve(Ref(server.Address() + "/app:v1"), {}, stop.get_token());
  EXPECT_EQ(found.error().code, Code::kCancelled);
}

TEST_F(ResolveTest, TlsWithAConfiguredAuthority) {
  std::string directory = ::testing::TempDir() + "/varve-registry-tls";
  std::filesystem::create_directories(directory);
  auto certificates = net::testing::MakeCertificates(directory);
  FakeRegistry server({.tls = net::testing::ServerTls{certificates.certificate_file, certificates.key_file}});
  server.AddImage("app", "v1", "linux/amd64", {"layer"});
  oci::Reference ref = Ref(server.Address() + "/app:v1");
  Config config;
  config.Set(server.Address(), {.ca = certificates.ca_file});
  EXPECT_TRUE(Use(config).Resolve(ref, {}, {}));
  Config insecure;
  insecure.Set(server.Address(), {.insecure = true});
  EXPECT_TRUE(Use(insecure).Resolve(ref, {}, {}));
  Config strict;
  strict.Set(server.Address(), {.plain_http = false});
  auto refused = Use(strict).Resolve(ref, {}, {});
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("not trusted"));
  std::filesystem::remove_all(directory);
}

TEST_F(ResolveTest, TheRefusalsOwnWordsAreShownWithoutControlCharacters) {
  FakeRegistry server;
  server.Fail({.pattern = "", .status = 400, .body = R"({"errors":[{"code":"X","message":"no\u001b[31m way"}]})"});
  auto found = Use().FetchManifest(Ref(server.Address() + "/app:v1"), {});
  EXPECT_EQ(found.error().code, Code::kInvalid);
  EXPECT_THAT(found.error().message, HasSubstr("answers 400: no [31m way"));
}

}  // namespace
}  // namespace varve::registry
