#include "registry/testing/hosted_rules.h"

#include <gmock/gmock.h>

#include "oci/manifest.h"

namespace varve::registry {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

oci::Descriptor Some(std::string_view type, const std::string& text) {
  return {.media_type = std::string(type), .digest = Digest::Of(text), .size = text.size()};
}

oci::Manifest WithLayers(size_t count) {
  oci::Manifest manifest{.config = Some("application/vnd.varve.cache.records.v1+zstd", "records")};
  for (size_t i = 0; i < count; ++i) manifest.layers.push_back(Some(oci::kOciLayerZstd, std::to_string(i)));
  return manifest;
}

// Of a repository that has everything but what hashes like "absent".
std::string RuleAgainst(std::string_view media_type, const std::string& text) {
  auto has = [](const Digest& digest) { return digest != Digest::Of("absent"); };
  auto refusal = testing::RefusedByHosts(std::string(media_type), text, has, has);
  return refusal ? refusal->rule : "";
}

TEST(HostedRules, AManifestNamesSomeBlobsThatAreThere) {
  auto rule = [](const oci::Manifest& manifest) { return RuleAgainst(oci::kOciManifest, oci::Serialise(manifest)); };
  EXPECT_THAT(rule(WithLayers(1)), IsEmpty());
  EXPECT_THAT(rule(WithLayers(500)), IsEmpty());
  EXPECT_THAT(rule(WithLayers(501)), HasSubstr("Limit on number of layers"));
  EXPECT_THAT(rule(WithLayers(0)), HasSubstr("no layer"));
  oci::Manifest absent = WithLayers(1);
  absent.layers.push_back(Some(oci::kOciLayerZstd, "absent"));
  EXPECT_THAT(rule(absent), HasSubstr("a layer that is not there"));
  EXPECT_THAT(RuleAgainst(oci::kOciManifest, std::string((4 << 20) + 1, ' ')), HasSubstr("4 MiB"));
}

TEST(HostedRules, AnIndexNamesManifestsOnce) {
  auto rule = [](std::vector<oci::Descriptor> manifests) {
    return RuleAgainst(oci::kOciIndex, oci::Serialise(oci::Index{.manifests = std::move(manifests)}));
  };
  auto one = Some(oci::kOciManifest, "one"), other = Some(oci::kOciManifest, "other");
  EXPECT_THAT(rule({one, other}), IsEmpty());
  EXPECT_THAT(rule({one, other, one}), HasSubstr("Harbor"));
  EXPECT_THAT(rule({one, Some(oci::kOciLayerZstd, "layer")}), HasSubstr("Google, Quay"));
  EXPECT_THAT(rule({Some(oci::kOciManifest, "absent")}), HasSubstr("a manifest that is not there"));
}

}  // namespace
}  // namespace varve::registry
