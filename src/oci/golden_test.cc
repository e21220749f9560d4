// Every byte of a document that leaves varve. VARVE_ACCEPT=1 rewrites the files.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/fd.h"
#include "oci/image_config.h"
#include "oci/layout.h"
#include "oci/manifest.h"

namespace varve::oci {
namespace {

void ExpectGolden(const std::string& name, const std::string& text) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/oci/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << "run once with VARVE_ACCEPT=1";
  EXPECT_EQ(text, *golden);
}

Descriptor Some(std::string_view type, std::string_view text) {
  Descriptor d;
  d.media_type = type;
  d.digest = Digest::Of(text);
  d.size = text.size();
  return d;
}

TEST(OciGolden, Manifest) {
  Manifest manifest{.config = Some(kOciConfig, "config"),
                    .layers = {Some(kOciLayerGzip, "one"), Some(kOciLayerZstd, "two")}};
  manifest.layers[1].annotations = {{"z", "last"}, {"a", "<first> & only"}};
  manifest.annotations = {{"org.opencontainers.image.title", "a\u2028b"}};
  ExpectGolden("manifest.json", Serialise(manifest));
}

TEST(OciGolden, ManifestOfDocker) {
  Manifest manifest{.media_type = std::string(kDockerManifest),
                    .config = Some(kDockerConfig, "config"),
                    .layers = {Some(kDockerLayerGzip, "one")}};
  ExpectGolden("manifest.docker.json", Serialise(manifest));
}

TEST(OciGolden, AttestationManifest) {
  Manifest manifest{.artifact_type = std::string(kAttestationManifest),
                    .config = Some(kOciEmpty, "{}"),
                    .layers = {Some(kInToto, "statement")}};
  manifest.config.data = "{}";
  manifest.subject = Some(kOciManifest, "image");
  ExpectGolden("attestation.json", Serialise(manifest));
}

TEST(OciGolden, Index) {
  Index index{.manifests = {Some(kOciManifest, "amd64"), Some(kOciManifest, "arm"), Some(kOciManifest, "windows"),
                            Some(kOciManifest, "att")}};
  index.manifests[0].platform = *ParsePlatform("linux/amd64");
  index.manifests[1].platform = *ParsePlatform("linux/arm/v7");
  index.manifests[2].platform = *ParsePlatform("windows(10.0.17763)/amd64");
  index.manifests[2].platform->os_features = {"win32k"};
  index.manifests[3].platform = Platform{.os = "unknown", .architecture = "unknown"};
  index.manifests[3].annotations = {{"vnd.docker.reference.type", "attestation-manifest"},
                                    {"vnd.docker.reference.digest", index.manifests[0].digest.ToString()}};
  ExpectGolden("index.json", Serialise(index));
}

TEST(OciGolden, EmptyListsAreWritten) {
  ExpectGolden("manifest.empty.json", Serialise(Manifest{.config = Some(kOciConfig, "c")}));
  ExpectGolden("index.empty.json", Serialise(Index{}));
}

TEST(OciGolden, Layout) {
  Index index;
  PutInLayout(index, NamedInLayout(Some(kOciManifest, "m"), *ParseReference("example.com/team/app"),
                                   Timestamp{1'700'000'000'500'000'000}));
  ExpectGolden("layout.txt", LayoutFileText() + "\n" + SerialiseLayoutIndex(index) + "\n");
}

TEST(OciGolden, ImageConfig) {
  ImageConfig config = ImageConfig::Scratch(*ParsePlatform("linux/arm64"));
  config.set_created(Timestamp{1'700'000'000'000'000'000});
  config.set_author("Ann <ann@example.com>");
  config.SetEnv("GREETING", "a & b");
  config.SetConfig("User", "1000:1000");
  config.SetConfig("Entrypoint", nullptr);
  config.SetConfig("Cmd", Json::Strings({"/bin/sh", "-c", "echo \"hi\" > /dev/null"}));
  config.SetConfig("ArgsEscaped", true);
  config.SetConfig("StopSignal", "SIGINT");
  config.SetConfig("Shell", Json::Strings({"/bin/bash", "-c"}));
  config.SetConfig("OnBuild", Json::Strings({"RUN true"}));
  config.AddToSet("ExposedPorts", "8080/tcp");
  config.AddToSet("Volumes", "/data");
  config.SetLabel("b", "2");
  config.SetLabel("a", "1");
  config.SetHealthcheck({.test = {"CMD-SHELL", "true"}, .interval = Nanos(30'000'000'000), .retries = 3});
  config.set_diff_ids({DiffId(Digest::Of("layer"))});
  config.set_history({{.created = Timestamp{0}, .created_by = "COPY . /", .comment = "x"},
                      {.created_by = "CMD [\"a\"]", .author = "Ann", .empty_layer = true}});
  config.document().Set("moby.buildkit.cache.v0", "AAEC");
  ExpectGolden("config.json", config.Serialise());
  EXPECT_EQ(ImageConfig::Parse(config.Serialise())->Serialise(), config.Serialise());
}

}  // namespace
}  // namespace varve::oci
