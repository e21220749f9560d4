#include "export/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace varve::exporter {
namespace {

using ::testing::HasSubstr;

TEST(ParseOutput, ABarePathIsALocalDirectory) {
  Output output = *ParseOutput("out/dir", false);
  EXPECT_EQ(output.type, OutputType::kLocal);
  EXPECT_EQ(output.dest, "out/dir");
  EXPECT_EQ(ParseOutput("-", false)->type, OutputType::kTar);
}

TEST(ParseOutput, RegistryIsAPushedImage) {
  Output output = *ParseOutput("type=registry,name=a:1", false);
  EXPECT_EQ(output.type, OutputType::kImage);
  EXPECT_TRUE(output.push);
  EXPECT_EQ(output.names, std::vector<std::string>{"a:1"});
}

TEST(ParseOutput, QuotedNamesHoldCommas) {
  Output output = *ParseOutput(R"(type=image,"name=a:1,b:2")", false);
  EXPECT_EQ(output.names, (std::vector<std::string>{"a:1", "b:2"}));
}

TEST(ParseOutput, DockerWithoutDestIsLoaded) {
  EXPECT_TRUE(ParseOutput("type=docker", true)->load);
  EXPECT_FALSE(ParseOutput("type=docker,dest=x.tar", true)->load);
}

TEST(ParseOutput, ATarIsNotWrittenToATerminal) {
  EXPECT_THAT(ParseOutput("type=oci", true).error().message, HasSubstr("terminal"));
  EXPECT_TRUE(ParseOutput("type=oci", false));
  EXPECT_FALSE(ParseOutput("type=oci,tar=false", false));
}

TEST(ParseOutput, SuggestsWhatWasMeant) {
  EXPECT_EQ(ParseOutput("type=dcker", false).error().hint, "did you mean docker?");
  EXPECT_EQ(ParseOutput("type=image,compresion=zstd", false).error().hint, "did you mean compression?");
  EXPECT_FALSE(ParseOutput("type=image,compression=lzma", false));
  EXPECT_FALSE(ParseOutput("type=image,push=maybe", false));
  EXPECT_FALSE(ParseOutput("dest=x,push=true", false));
}

TEST(ParseOutput, AnEmptyEpochIsNone) {
  EXPECT_EQ(ParseOutput("type=oci,dest=x,source-date-epoch=7", false)->source_date_epoch, 7);
  EXPECT_FALSE(ParseOutput("type=oci,dest=x", false)->no_epoch);
  Output none = *ParseOutput("type=oci,dest=x,source-date-epoch=", false);
  EXPECT_TRUE(none.no_epoch);
  EXPECT_FALSE(none.source_date_epoch);
}

TEST(ParseOutput, AnnotationsKeepTypePlatformAndCase) {
  Output output = *ParseOutput("type=image,annotation-index[linux/amd64].Org.Key=v", false);
  ASSERT_EQ(output.annotations.size(), 1u);
  EXPECT_EQ(output.annotations[0].type, "index");
  EXPECT_EQ(output.annotations[0].platform, "linux/amd64");
  EXPECT_EQ(output.annotations[0].key, "Org.Key");
}

TEST(ParseAnnotation, OneValueForSeveralTypes) {
  auto annotations = *ParseAnnotation("manifest,index:a.b=c=d");
  ASSERT_EQ(annotations.size(), 2u);
  EXPECT_EQ(annotations[1].type, "index");
  EXPECT_EQ(annotations[1].value, "c=d");
  EXPECT_FALSE(ParseAnnotation("novalue"));
  EXPECT_FALSE(ParseAnnotation("weird:a=b"));
}

}  // namespace
}  // namespace varve::exporter
