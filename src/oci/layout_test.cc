#include "oci/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace varve::oci {
namespace {

using ::testing::HasSubstr;

Descriptor Some(std::string_view text) {
  Descriptor d;
  d.media_type = kOciManifest;
  d.digest = Digest::Of(text);
  d.size = text.size();
  return d;
}

Descriptor Named(std::string_view text, std::string_view name) {
  return NamedInLayout(Some(text), *ParseReference(name), {});
}

TEST(Layout, EntriesAreFoundByTagNameAndDigest) {
  Index index;
  PutInLayout(index, Named("one", "app:v1"));
  PutInLayout(index, Named("two", "example.com/app:v2"));
  EXPECT_EQ(FindInLayout(index, "v1")->digest, Digest::Of("one"));
  EXPECT_EQ(FindInLayout(index, "app:v1")->digest, Digest::Of("one"));
  EXPECT_EQ(FindInLayout(index, "docker.io/library/app:v1")->digest, Digest::Of("one"));
  EXPECT_EQ(FindInLayout(index, "example.com/app:v2")->digest, Digest::Of("two"));
  EXPECT_EQ(FindInLayout(index, Digest::Of("two").ToString())->digest, Digest::Of("two"));
  auto missing = FindInLayout(index, "v3");
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  EXPECT_THAT(missing.error().hint, HasSubstr("docker.io/library/app:v1"));
}

TEST(Layout, ToolsThatWriteTheWholeReferenceIntoRefNameAreRead) {
  Index index;
  index.manifests = {Some("one")};
  index.manifests[0].annotations = {{std::string(kAnnotationRefName), "example.com/app:v1"}};
  EXPECT_EQ(FindInLayout(index, "v1")->digest, Digest::Of("one"));
  EXPECT_EQ(FindInLayout(index, "example.com/app:v1")->digest, Digest::Of("one"));
}

TEST(Layout, TheOnlyEntryNeedsNoName) {
  Index index;
  EXPECT_EQ(FindInLayout(index, "").error().code, Code::kNotFound);
  PutInLayout(index, Some("one"));
  EXPECT_EQ(FindInLayout(index, "")->digest, Digest::Of("one"));
  PutInLayout(index, Some("two"));
  EXPECT_EQ(FindInLayout(index, "").error().code, Code::kInvalid);
}

TEST(Layout, ANameMovesToTheNewerImage) {
  Index index;
  PutInLayout(index, Named("one", "app:v1"));
  PutInLayout(index, Named("one", "app:latest"));
  PutInLayout(index, Named("two", "app:v1"));
  ASSERT_EQ(index.manifests.size(), 2u);
  EXPECT_EQ(FindInLayout(index, "v1")->digest, Digest::Of("two"));
  EXPECT_EQ(FindInLayout(index, "latest")->digest, Digest::Of("one"));
}

TEST(Layout, ANameReplacesTheUnnamedEntryOfItsImage) {
  Index index;
  PutInLayout(index, Some("one"));
  PutInLayout(index, Named("one", "app:v1"));
  EXPECT_EQ(index.manifests.size(), 1u);
}

TEST(Layout, IndexRoundTripsAndMayBeBare) {
  Index index;
  PutInLayout(index, Named("one", "app:v1"));
  EXPECT_EQ(ParseLayoutIndex(SerialiseLayoutIndex(index))->manifests, index.manifests);
  EXPECT_TRUE(ParseLayoutIndex(R"({"schemaVersion":2})"));
  EXPECT_TRUE(ParseLayoutIndex(R"({"schemaVersion":2,"manifests":null})"));
  EXPECT_FALSE(ParseLayoutIndex(R"({"schemaVersion":2,"manifests":[{}]})"));
  EXPECT_FALSE(ParseLayoutIndex("[]"));
}

TEST(Layout, OtherVersionsAreRefused) {
  EXPECT_TRUE(CheckLayoutFile(LayoutFileText()));
  EXPECT_TRUE(CheckLayoutFile(R"({"imageLayoutVersion":"1.1.0","more":1})"));
  EXPECT_THAT(CheckLayoutFile(R"({"imageLayoutVersion":"2.0.0"})").error().message, HasSubstr("2.0.0"));
  EXPECT_FALSE(CheckLayoutFile("{}"));
  EXPECT_FALSE(CheckLayoutFile(""));
}

}  // namespace
}  // namespace varve::oci
