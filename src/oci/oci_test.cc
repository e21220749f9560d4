#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/reference.h"

namespace varve::oci {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Reference, FamiliarNamesAreDockerHubs) {
  Reference ref = *ParseReference("node:20-bookworm-slim");
  EXPECT_EQ(ref.String(), "docker.io/library/node:20-bookworm-slim");
  EXPECT_EQ(ref.Familiar(), "node:20-bookworm-slim");
  EXPECT_EQ(ParseReference("grafana/loki")->Familiar(), "grafana/loki");
  EXPECT_EQ(ParseReference("node")->WithDefaultTag().String(), "docker.io/library/node:latest");
}

TEST(Reference, AShortFormIsReadAsTheSame) {
  for (const char* text : {"docker.io/lib.org/x:1", "docker.io/localhost/x", "docker.io/a/b/c", "docker.io/library/a/b",
                           "docker.io/library/a.b"}) {
    EXPECT_EQ(*ParseReference(ParseReference(text)->Familiar()), *ParseReference(text)) << text;
  }
}

TEST(Reference, ADomainHasADotAPortOrIsLocalhost) {
  EXPECT_EQ(ParseReference("localhost/a")->domain, "localhost");
  EXPECT_EQ(ParseReference("127.0.0.1:5000/a/b:c")->domain, "127.0.0.1:5000");
  EXPECT_EQ(ParseReference("127.0.0.1:5000/a/b:c")->tag, "c");
  EXPECT_EQ(ParseReference("ghcr.example/x")->path, "x");
  EXPECT_EQ(ParseReference("myorg/x")->domain, "docker.io");
}

TEST(Reference, DigestsNameExactly) {
  std::string digest = Digest::Of("x").ToString();
  Reference ref = *ParseReference("a/b:1@" + digest);
  EXPECT_EQ(ref.Identifier(), digest);
  EXPECT_EQ(ref.String(), "docker.io/a/b:1@" + digest);
}

TEST(Reference, RefusesWhatRegistriesRefuse) {
  EXPECT_THAT(ParseReference("Node").error().message, HasSubstr("lowercase"));
  for (const char* bad : {"", "a/", "/a", "a//b", "a:-tag", "a@sha256:12", "-a", "a__b___c", "a b", "[x]/a",
                          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}) {
    EXPECT_FALSE(ParseReference(bad)) << bad;
  }
}

TEST(Platform, Normalises) {
  EXPECT_EQ(ParsePlatform("linux/x86_64")->ToString(), "linux/amd64");
  EXPECT_EQ(ParsePlatform("linux/aarch64")->ToString(), "linux/arm64");
  EXPECT_EQ(ParsePlatform("linux/arm64/v8")->ToString(), "linux/arm64");
  EXPECT_EQ(ParsePlatform("linux/arm")->ToString(), "linux/arm/v7");
  EXPECT_EQ(ParsePlatform("arm64")->ToString(), "linux/arm64");
  EXPECT_FALSE(ParsePlatform("a/b/c/d"));
  EXPECT_EQ(
      ParsePlatform("linux/").error().message,
      "\"\" is an invalid component of \"linux/\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": "
      "invalid argument");
  EXPECT_FALSE(ParsePlatform("toaster"));
}

TEST(Platform, BaselineVariantsAreLeftOut) {
  EXPECT_EQ(ParsePlatform("linux/amd64/v1")->ToString(), "linux/amd64");
  EXPECT_EQ(ParsePlatform("linux/arm/6")->ToString(), "linux/arm/v6");
  EXPECT_EQ(ParsePlatform("local")->ToString(), HostPlatform().ToString());
}

TEST(Platform, AWindowsPlatformHasAVersionAndFeatures) {
  for (const char* text : {"windows(10.0.17763)/amd64", "windows(10.0.17763+win32k)/amd64", "windows(+win32k)/amd64"}) {
    EXPECT_EQ(ParsePlatform(text)->ToString(), text);
  }
  Platform wanted = *ParsePlatform("windows(10.0.17763)/amd64");
  EXPECT_TRUE(Matches(wanted, *ParsePlatform("windows(10.0.17763.3650)/amd64")));
  EXPECT_FALSE(Matches(wanted, *ParsePlatform("windows(10.0.20348.1006)/amd64")));
  EXPECT_TRUE(Matches(*ParsePlatform("windows/amd64"), wanted));
}

TEST(Platform, ArmRunsLowerVariantsOnly) {
  Platform v7 = *ParsePlatform("linux/arm/v7"), v6 = *ParsePlatform("linux/arm/v6");
  EXPECT_TRUE(Matches(v7, v6));
  EXPECT_FALSE(Matches(v6, v7));
  EXPECT_TRUE(FitsBetter(v7, v7, v6));
}

Descriptor Some(std::string_view type, std::string text, const char* platform = nullptr) {
  Descriptor d{.media_type = std::string(type), .digest = Digest::Of(text), .size = text.size()};
  if (platform != nullptr) d.platform = *ParsePlatform(platform);
  return d;
}

TEST(Manifest, RoundTripsInGosForm) {
  Manifest manifest{.config = Some(kOciConfig, "c"), .layers = {Some(kOciLayerGzip, "l")}};
  std::string text = Serialise(manifest);
  EXPECT_THAT(text, testing::StartsWith("{\n  \"schemaVersion\": 2,\n  \"mediaType\": "
                                        "\"application/vnd.oci.image.manifest.v1+json\",\n"));
  Manifest back = *ParseManifest(text);
  EXPECT_EQ(back.config, manifest.config);
  EXPECT_EQ(back.layers, manifest.layers);
}

TEST(Manifest, HostileDocumentsAreRefused) {
  EXPECT_FALSE(ParseManifest("{}"));
  EXPECT_FALSE(ParseManifest(R"({"schemaVersion":1})"));
  EXPECT_FALSE(ParseManifest(R"({"schemaVersion":2,"config":{},"manifests":[]})"));
  std::string digest = Digest::Of("x").ToString();
  EXPECT_FALSE(ParseManifest(R"({"schemaVersion":2,"config":{"digest":")" + digest + R"(","size":-1},"layers":[]})"));
  EXPECT_FALSE(ParseManifest(R"({"schemaVersion":2,"config":{"digest":"sha256:../../etc","size":1}})"));
}

TEST(Index, PicksThePlatformAndNoAttestation) {
  Index index{.manifests = {Some(kOciManifest, "arm", "linux/arm64"), Some(kOciManifest, "amd", "linux/amd64")}};
  index.manifests.push_back(Some(kOciManifest, "att"));
  index.manifests.back().annotations = {{"vnd.docker.reference.type", "attestation-manifest"}};
  EXPECT_EQ(index.Find(*ParsePlatform("linux/amd64"))->digest, Digest::Of("amd"));
  EXPECT_EQ(index.Find(*ParsePlatform("linux/s390x")), nullptr);
  EXPECT_EQ(ParseIndex(Serialise(index))->manifests, index.manifests);
}

TEST(Index, AnUnspecificEntryIsTheLastChoice) {
  Index index{.manifests = {Some(kOciManifest, "any"), Some(kOciManifest, "amd", "linux/amd64")}};
  EXPECT_EQ(index.Find(*ParsePlatform("linux/amd64"))->digest, Digest::Of("amd"));
  EXPECT_EQ(index.Find(*ParsePlatform("linux/s390x"))->digest, Digest::Of("any"));
}

TEST(Index, TheBestVariantWins) {
  Index index{.manifests = {Some(kOciManifest, "v1", "linux/amd64"), Some(kOciManifest, "v2", "linux/amd64/v2"),
                            Some(kOciManifest, "v3", "linux/amd64/v3"), Some(kOciManifest, "386", "linux/386")}};
  EXPECT_EQ(index.Find(*ParsePlatform("linux/amd64"))->digest, Digest::Of("v1"));
  EXPECT_EQ(index.Find(*ParsePlatform("linux/amd64/v2"))->digest, Digest::Of("v2"));
  EXPECT_EQ(index.Find(*ParsePlatform("linux/amd64/v4"))->digest, Digest::Of("v3"));
  index.manifests.erase(index.manifests.begin(), index.manifests.begin() + 3);
  EXPECT_EQ(index.Find(*ParsePlatform("linux/amd64"))->digest, Digest::Of("386"));
}

TEST(Index, ArmTakesTheHighestVariantThatItsOwnRuns) {
  Index index;
  for (const char* variant : {"v5", "v7", "v6"}) {
    Descriptor d{.media_type = std::string(kOciManifest), .digest = Digest::Of(variant)};
    d.platform = Platform{.os = "linux", .architecture = "arm", .variant = variant};
    index.manifests.push_back(d);
  }
  auto found = [&](const char* platform) { return index.Find(*ParsePlatform(platform)); };
  EXPECT_EQ(found("linux/arm/v7")->digest, Digest::Of("v7"));
  EXPECT_EQ(found("linux/arm")->digest, Digest::Of("v7"));
  EXPECT_EQ(found("linux/arm/v6")->digest, Digest::Of("v6"));
  EXPECT_EQ(found("linux/arm/v5")->digest, Digest::Of("v5"));
  index.manifests.erase(index.manifests.begin() + 1);
  EXPECT_EQ(found("linux/arm/v7")->digest, Digest::Of("v6"));
  index.manifests.pop_back();
  EXPECT_EQ(found("linux/arm/v7")->digest, Digest::Of("v5"));
  // containerd's rule: a 64-bit machine takes the 32-bit image when there is nothing better.
  EXPECT_EQ(found("linux/arm64")->digest, Digest::Of("v5"));
  EXPECT_EQ(found("linux/amd64"), nullptr);
}

TEST(Descriptor, EmbeddedDataIsVerified) {
  Descriptor d = Some(kOciEmpty, "{}");
  d.data = "{}";
  Json json = ToJson(d);
  EXPECT_EQ(json.GetString("data"), "e30=");
  EXPECT_EQ(*DescriptorFromJson(json), d);
  json.Set("data", "e3s=");
  EXPECT_FALSE(DescriptorFromJson(json));
}

TEST(Descriptor, SizesBeyondReasonAreRefused) {
  for (const char* size : {"-1", "1e300", "1125899906842625", "\"1\"", "null"}) {
    auto json = Json::Parse(fmt::format(R"({{"digest":"{}","size":{}}})", Digest::Of("x").ToString(), size));
    EXPECT_FALSE(DescriptorFromJson(*json)) << size;
  }
}

TEST(ImageConfig, UnknownMembersSurvive) {
  auto config = *ImageConfig::Parse(
      R"({"os":"linux","architecture":"amd64","x":{"y":1},"config":{"Z":[1],"Entrypoint":null,"Cmd":[]}})");
  config.SetEnv("A", "1");
  config.SetEnv("B", "2");
  config.SetEnv("A", "3");
  EXPECT_EQ(config.Serialise(), R"({"architecture":"amd64","config":{"Cmd":[],"Entrypoint":null,"Env":["A=3","B=2"],)"
                                R"("Z":[1]},"os":"linux","x":{"y":1}})");
}

TEST(ImageConfig, AbsentNullAndEmptyListsAreApart) {
  auto config = *ImageConfig::Parse(R"({"config":{"Entrypoint":null,"Cmd":[]}})");
  EXPECT_EQ(config.entrypoint(), std::nullopt);
  EXPECT_EQ(config.cmd(), std::vector<std::string>());
  EXPECT_EQ(ImageConfig().cmd(), std::nullopt);
  EXPECT_EQ(config.Serialise(), R"({"config":{"Cmd":[],"Entrypoint":null}})");
}

TEST(ImageConfig, ReadsWhatItWrites) {
  ImageConfig config;
  Healthcheck check{.test = {"CMD", "true"}, .interval = Nanos(5), .start_interval = Nanos(7), .retries = 2};
  config.SetHealthcheck(check);
  config.SetLabel("k", "v");
  config.AddToSet("ExposedPorts", "80/tcp");
  config.AddToSet("ExposedPorts", "80/tcp");
  EXPECT_EQ(config.healthcheck(), check);
  EXPECT_THAT(config.labels(), ElementsAre(testing::Pair("k", "v")));
  EXPECT_THAT(config.exposed_ports(), ElementsAre("80/tcp"));
  EXPECT_EQ(ImageConfig().healthcheck(), std::nullopt);
}

TEST(ImageConfig, ANewPlatformLeavesNothingOfTheOldOne) {
  ImageConfig config;
  config.set_platform(*ParsePlatform("linux/arm/v7"));
  config.set_platform(*ParsePlatform("linux/amd64"));
  EXPECT_EQ(config.platform(), *ParsePlatform("linux/amd64"));
}

TEST(ImageConfig, GosZeroTimeIsNoTime) {
  auto config = *ImageConfig::Parse(R"({"created":"0001-01-01T00:00:00Z"})");
  EXPECT_EQ(config.created(), std::nullopt);
}

TEST(ImageConfig, ScratchHasAPathAndARoot) {
  ImageConfig config = ImageConfig::Scratch(*ParsePlatform("linux/amd64"));
  EXPECT_EQ(config.working_dir(), "/");
  EXPECT_THAT(config.env(), ElementsAre(testing::StartsWith("PATH=")));
}

TEST(ImageConfig, HistoryAndDiffIdsRoundTrip) {
  ImageConfig config;
  DiffId layer(Digest::Of("layer"));
  config.set_diff_ids({layer});
  config.AddHistory({.created = Timestamp{0}, .created_by = "RUN <x>", .empty_layer = true});
  ImageConfig back = *ImageConfig::Parse(config.Serialise());
  EXPECT_THAT(back.diff_ids(), ElementsAre(layer));
  EXPECT_EQ(back.history(), config.history());
  EXPECT_THAT(config.Serialise(), HasSubstr("RUN \\u003cx\\u003e"));
}

TEST(ChainOf, IsTheSpecsRecurrence) {
  DiffId a(Digest::Of("a")), b(Digest::Of("b"));
  EXPECT_EQ(ChainOf({a}).value, a.value);
  EXPECT_EQ(ChainOf({a, b}).value, Digest::Of(a.ToString() + " " + b.ToString()));
}

}  // namespace
}  // namespace varve::oci
