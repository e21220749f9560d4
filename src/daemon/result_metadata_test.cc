#include "daemon/result_metadata.h"

#include <gtest/gtest.h>

namespace varve::daemon {
namespace {

std::string ErrorOf(const ResultMetadata& metadata) {
  auto platforms = PlatformsOf(metadata);
  return platforms ? "" : platforms.error().message;
}

std::vector<ResultPlatform> Have(std::initializer_list<const char*> names) {
  std::vector<ResultPlatform> out;
  for (const char* name : names) out.push_back({name, *oci::ParsePlatform(name)});
  return out;
}

TEST(ResultMetadata, PlatformsComeInTheOrderOfTheList) {
  auto platforms = PlatformsOf({{"refs.platforms", R"({"Platforms":[
      {"ID":"b","Platform":{"os":"linux","architecture":"arm64"}},
      {"ID":"a","Platform":{"os":"linux","architecture":"amd64"}}]})"}});
  ASSERT_TRUE(platforms) << platforms.error().message;
  ASSERT_EQ(platforms->size(), 2u);
  EXPECT_EQ((*platforms)[0].id, "b");
  EXPECT_EQ((*platforms)[1].platform.ToString(), "linux/amd64");
}

TEST(ResultMetadata, AListOfPlatformsThatSaysNothingIsRefused) {
  EXPECT_EQ(ErrorOf({{"refs.platforms", ""}}), "invalid empty platforms index for exporter");
  EXPECT_EQ(ErrorOf({{"refs.platforms", "null"}}), "invalid empty platforms index for exporter");
  EXPECT_EQ(ErrorOf({{"refs.platforms", R"({"Platforms":[{}]})"}}), "invalid empty platform key for exporter");
  EXPECT_EQ(ErrorOf({{"refs.platforms", R"({"Platforms":[{"ID":"x","Platform":{"os":"linux"}}]})"}}),
            "invalid platform value of x for exporter: os and architecture are needed");
}

TEST(ResultMetadata, AConfigSaysItsWholePlatformOrNone) {
  EXPECT_EQ(ErrorOf({{"containerimage.config", "null"}}), "invalid null image config for export");
  EXPECT_EQ(ErrorOf({{"containerimage.config", R"({"architecture":"amd64"})"}}),
            "invalid image config: os and architecture must be specified together");
  EXPECT_EQ(ErrorOf({{"containerimage.config", "{}"}}), "");
  auto platforms = PlatformsOf({{"containerimage.config", R"({"architecture":"arm64","os":"linux"})"}});
  ASSERT_TRUE(platforms);
  EXPECT_EQ((*platforms)[0].platform.architecture, "arm64");
}

TEST(ResultMetadata, OtherPlatformsThanAskedForAreWarnedOf) {
  const std::string own = oci::HostPlatform().ToString();
  EXPECT_EQ(PlatformWarning("", false, Have({own.c_str()})), "");
  EXPECT_EQ(PlatformWarning("linux/amd64,linux/arm64", true, Have({"linux/arm64", "linux/amd64"})), "");
  EXPECT_EQ(PlatformWarning("linux/amd64,linux/arm64", false, Have({"linux/amd64"})),
            "Multiple platforms requested but result is not multi-platform");
  EXPECT_EQ(PlatformWarning("linux/s390x", false, Have({"linux/riscv64"})),
            "Requested platform \"linux/s390x\" does not match result platform \"linux/riscv64\"");
  EXPECT_EQ(PlatformWarning("linux/amd64", true, Have({"linux/amd64", "linux/arm64"})),
            "Requested platforms linux/amd64 do not match result platforms linux/amd64,linux/arm64");
  EXPECT_EQ(PlatformWarning("linux/amd64,linux/amd64", false, Have({"linux/amd64"})),
            "Duplicate platform result requested \"linux/amd64\"");
}

TEST(ResultMetadata, AnnotationsAreThoseOfOutputs) {
  auto annotations =
      AnnotationsOf({{"annotation-index.a", "1"}, {"annotation-manifest[linux/arm64].b", "2"}, {"other", "3"}});
  ASSERT_TRUE(annotations);
  ASSERT_EQ(annotations->size(), 2u);
  EXPECT_EQ((*annotations)[0].type, "index");
  EXPECT_EQ((*annotations)[0].key, "a");
  EXPECT_EQ((*annotations)[1].platform, "linux/arm64");
  EXPECT_EQ((*annotations)[1].value, "2");
  EXPECT_FALSE(AnnotationsOf({{"annotation-floppy.a", "1"}}));
}

TEST(ResultMetadata, ThePlatformsEpochWins) {
  const ResultMetadata metadata = {{"source.date.epoch", "1"}, {"source.date.epoch/linux/arm64", "2"}};
  EXPECT_EQ(EpochOf(metadata, "linux/arm64"), 2);
  EXPECT_EQ(EpochOf(metadata, ""), 1);
  EXPECT_EQ(EpochOf({}, ""), std::nullopt);
}

}  // namespace
}  // namespace varve::daemon
