#include "oci/stored_image.h"

#include <gtest/gtest.h>

#include <map>

namespace varve::oci {
namespace {

class StoredImageTest : public ::testing::Test {
 protected:
  Digest Put(std::string text) {
    const Digest digest = Digest::Of(text);
    blobs_[digest] = std::move(text);
    return digest;
  }
  Descriptor PutImage(const std::string& architecture, const std::vector<Descriptor>& layers) {
    ImageConfig config = ImageConfig::Scratch({.os = "linux", .architecture = architecture});
    const std::string text = config.Serialise();
    Manifest manifest{.config = {.media_type = std::string(kOciConfig), .digest = Put(text), .size = text.size()},
                      .layers = layers};
    const std::string whole = Serialise(manifest);
    return {.media_type = std::string(kOciManifest), .digest = Put(whole), .size = whole.size()};
  }
  static Descriptor Layer(std::string_view name, uint64_t size) {
    return {.media_type = std::string(kOciLayer), .digest = Digest::Of(name), .size = size};
  }
  Result<StoredImage> Read(const Digest& digest) {
    return ReadStoredImage(digest, [this](const Digest& blob) -> Result<std::string> {
      auto found = blobs_.find(blob);
      if (found == blobs_.end()) return NotFound("no blob {}", blob.Short());
      return found->second;
    });
  }
  size_t ConfigSize(const StoredImage& image, size_t variant) { return image.variants[variant].manifest.config.size; }

  std::map<Digest, std::string> blobs_;
};

TEST_F(StoredImageTest, ABareManifestIsForItsConfigsPlatform) {
  const Descriptor manifest = PutImage("arm64", {Layer("a", 100)});
  auto image = Read(manifest.digest);
  ASSERT_TRUE(image) << image.error().message;
  ASSERT_EQ(image->variants.size(), 1u);
  EXPECT_EQ(image->variants[0].platform.ToString(), "linux/arm64");
  EXPECT_EQ(image->variants[0].manifest_digest, manifest.digest);
  EXPECT_EQ(image->media_type, kOciManifest);
  EXPECT_EQ(image->attestations, 0u);
  EXPECT_EQ(image->Size(), 100 + ConfigSize(*image, 0));
}

TEST_F(StoredImageTest, AnIndexHasVariantsAndCountsSharedBlobsOnceAndAttestationsApart) {
  Index index;
  index.manifests.push_back(PutImage("amd64", {Layer("shared", 1000), Layer("a", 10)}));
  index.manifests[0].platform = Platform{.os = "linux", .architecture = "amd64"};
  index.manifests.push_back(PutImage("arm64", {Layer("shared", 1000), Layer("b", 20)}));
  index.manifests[1].platform = Platform{.os = "linux", .architecture = "arm64", .variant = "v8"};
  Descriptor attestation{.media_type = std::string(kOciManifest), .digest = Digest::Of("not here"), .size = 5};
  attestation.annotations = {{"vnd.docker.reference.type", "attestation-manifest"}};
  index.manifests.push_back(attestation);
  auto image = Read(Put(Serialise(index)));
  ASSERT_TRUE(image) << image.error().message;
  ASSERT_EQ(image->variants.size(), 2u);
  EXPECT_EQ(image->variants[0].platform.ToString(), "linux/amd64");
  EXPECT_EQ(image->variants[1].platform.variant, "v8");
  EXPECT_EQ(image->attestations, 1u);
  EXPECT_EQ(image->Size(), 1030 + ConfigSize(*image, 0) + ConfigSize(*image, 1));
}

TEST_F(StoredImageTest, LostAndForeignDocumentsAreErrors) {
  EXPECT_EQ(Read(Digest::Of("nowhere")).error().code, Code::kNotFound);
  const Descriptor manifest = PutImage("amd64", {});
  blobs_.erase(Read(manifest.digest)->variants[0].manifest.config.digest);
  EXPECT_EQ(Read(manifest.digest).error().code, Code::kNotFound);
  EXPECT_FALSE(Read(Put("no JSON")));
  EXPECT_FALSE(Read(Put(R"({"some":"thing"})")));
}

}  // namespace
}  // namespace varve::oci
