#include "llb/input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dockerfile/lower_test.h"

namespace varve::llb {
namespace {

using ::testing::HasSubstr;

dockerfile::Lowered LowerText(const std::string& text, dockerfile::LowerOptions options) {
  auto file = dockerfile::ParseDockerfile(text);
  EXPECT_TRUE(file.has_value());
  dockerfile::FakeImages images;
  options.target_platform = options.build_platform = {.os = "linux", .architecture = "amd64"};
  auto lowered = dockerfile::Lower(*file, options, images);
  EXPECT_TRUE(lowered.has_value()) << lowered.error().error.ToString();
  return std::move(*lowered);
}

std::string LastRun(const dockerfile::Lowered& lowered) {
  return graph::CanonicalOp(lowered.graph.at(*lowered.root)).DumpCanonical();
}

// The same two files as one build with target: and as two with the first one's result in between.
TEST(Inputs, ABuildThatWasSentAsAnInputIsTheBuildItself) {
  dockerfile::Lowered base =
      LowerText("FROM alpine\nENV A=1\nWORKDIR /w\nRUN --mount=type=cache,target=/c,uid=7 make\n", {});
  Definitions definitions;
  StringAttributes attributes;
  definitions["base"] = Encode(base.graph, base.root);
  attributes["input-metadata:base"] = InputMetadata(base.config);
  auto inputs = DecodeInputs(definitions, attributes);
  ASSERT_TRUE(inputs.has_value()) << inputs.error().ToString();

  const std::string file = "FROM base\nCOPY --from=base /a /b\nRUN make\n";
  dockerfile::LowerOptions direct, sent;
  direct.named_contexts = {{"base", "input:base"}};
  direct.inputs["base"] = {.graph = &base.graph, .root = base.root, .config = base.config, .history = {}};
  sent.named_contexts = direct.named_contexts;
  sent.inputs = inputs->Lowered();
  dockerfile::Lowered one = LowerText(file, direct), two = LowerText(file, sent);
  EXPECT_EQ(Serialise(Encode(one.graph, one.root)), Serialise(Encode(two.graph, two.root)));
  EXPECT_EQ(one.config.Serialise(), two.config.Serialise());
  EXPECT_THAT(LastRun(two), HasSubstr(R"("cwd":"/w")"));
  EXPECT_THAT(LastRun(two), HasSubstr(R"("A=1")"));
}

TEST(Inputs, WithoutMetadataAnInputIsFilesAlone) {
  dockerfile::Lowered base = LowerText("FROM alpine\nRUN make\n", {});
  Definitions definitions;
  definitions["files"] = Encode(base.graph, base.root);
  auto inputs = DecodeInputs(definitions, {});
  ASSERT_TRUE(inputs.has_value());
  dockerfile::LowerOptions options;
  options.named_contexts = {{"files", "input:files"}};
  options.inputs = inputs->Lowered();
  dockerfile::Lowered lowered = LowerText("FROM scratch\nCOPY --from=files /a /\n", options);
  EXPECT_EQ(lowered.graph.steps.size(), 3u);
}

TEST(Inputs, ADefinitionWithoutOpsIsNoInput) {
  Definitions definitions;
  definitions["files"];
  auto inputs = DecodeInputs(definitions, {});
  ASSERT_FALSE(inputs.has_value());
  EXPECT_EQ(inputs.error().message, "invalid nil input definition to definition op: files");
}

TEST(Inputs, WhatIsMalformedIsNamed) {
  Definitions definitions;
  definitions["bad"].add_def("\xff");
  EXPECT_THAT(DecodeInputs(definitions, {}).error().message, HasSubstr("input bad: Op 1"));
  definitions["bad"] = Encode(LowerText("FROM alpine\n", {}).graph, graph::Ref{0, 0});
  StringAttributes attributes;
  attributes["input-metadata:bad"] = R"({"containerimage.config":"%"})";
  EXPECT_THAT(DecodeInputs(definitions, attributes).error().message,
              HasSubstr("failed to parse input metadata of bad: containerimage.config is not base64"));
  attributes["input-metadata:bad"] = "[";
  EXPECT_THAT(DecodeInputs(definitions, attributes).error().message, HasSubstr("input metadata of bad"));
}

}  // namespace
}  // namespace varve::llb
