#include "dockerfile/lower_platforms.h"

#include <gmock/gmock.h>

#include "dockerfile/lower_test.h"

namespace varve::dockerfile {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kCross = R"(FROM --platform=$BUILDPLATFORM golang AS build
COPY . /src
RUN go mod download
ARG TARGETARCH
RUN GOARCH=$TARGETARCH go build -o /app
FROM alpine
COPY --from=build /app /app
)";

class PlatformsTest : public LowerTest {
 protected:
  Parsed<LoweredPlatforms> For(std::string_view text, const std::vector<std::string>& names) {
    file_ = *ParseDockerfile(text);
    std::vector<oci::Platform> platforms;
    for (const std::string& name : names) platforms.push_back(*oci::ParsePlatform(name));
    return LowerForPlatforms(file_, options, platforms, images, &warnings);
  }
  static Texts NamesOf(const graph::Graph& graph) {
    Texts out;
    for (const graph::Step& step : graph.steps) out.push_back(step.name.substr(0, step.name.find('@')));
    return out;
  }

 private:
  Dockerfile file_;
};

TEST_F(PlatformsTest, NativeStagesAreThereOnceAndForeignOnesPerPlatform) {
  auto lowered = For(kCross, {"linux/amd64", "linux/arm64"});
  ASSERT_TRUE(lowered);
  EXPECT_TRUE(lowered->multi_platform);
  EXPECT_THAT(NamesOf(lowered->graph),
              testing::UnorderedElementsAre(
                  "[internal] load build context", "[linux/amd64 build 1/4] FROM docker.io/library/golang:latest",
                  "[linux/amd64 build 2/4] COPY . /src", "[linux/amd64 build 3/4] RUN go mod download",
                  "[linux/amd64 build 4/4] RUN GOARCH=amd64 go build -o /app",
                  "[linux/amd64 stage-1 1/2] FROM docker.io/library/alpine:latest",
                  "[linux/amd64 stage-1 2/2] COPY --from=build /app /app",
                  "[linux/amd64->arm64 build 4/4] RUN GOARCH=arm64 go build -o /app",
                  "[linux/arm64 stage-1 1/2] FROM docker.io/library/alpine:latest",
                  "[linux/arm64 stage-1 2/2] COPY --from=build /app /app"));
}

TEST_F(PlatformsTest, EachPlatformsReferencesLeadIntoTheCommonGraph) {
  auto lowered = For(kCross, {"linux/arm64", "linux/amd64", "linux/arm/v7"});
  ASSERT_TRUE(lowered);
  ASSERT_EQ(lowered->results.size(), 3u);
  for (const PlatformResult& result : lowered->results) {
    const graph::Step& root = lowered->graph.at(*result.lowered.root);
    EXPECT_EQ(root.platform, result.platform);
    EXPECT_THAT(root.name, HasSubstr("COPY --from=build"));
    EXPECT_EQ(result.lowered.config.platform(), result.platform);
    const HistoryEntry& last = result.lowered.history.back();
    ASSERT_TRUE(last.step);
    EXPECT_EQ(*last.step, result.lowered.root->step);
    ASSERT_TRUE(result.lowered.context);
    EXPECT_TRUE(std::holds_alternative<graph::LocalSource>(lowered->graph.at(*result.lowered.context).op));
  }
}

TEST_F(PlatformsTest, OnePlatformIsWhatLowerGives) {
  Lowered alone = Do(std::string(kCross));
  auto lowered = For(kCross, {"linux/amd64"});
  ASSERT_TRUE(lowered);
  EXPECT_FALSE(lowered->multi_platform);
  EXPECT_EQ(graph::Dump(lowered->graph).Dump(), graph::Dump(alone.graph).Dump());
  EXPECT_EQ(lowered->results[0].lowered.root, alone.root);
}

TEST_F(PlatformsTest, TheShapeCanBeAskedFor) {
  options.build_args = {{"BUILDKIT_MULTI_PLATFORM", "1"}};
  auto lowered = For(kCross, {"linux/amd64"});
  ASSERT_TRUE(lowered);
  EXPECT_TRUE(lowered->multi_platform);
  EXPECT_THAT(lowered->graph.at(*lowered->results[0].lowered.root).name, HasSubstr("[linux/amd64 "));
  options.build_args = {{"BUILDKIT_MULTI_PLATFORM", "false"}};
  auto refused = For(kCross, {"linux/amd64", "linux/arm64"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.message, HasSubstr("multiple target platforms is not allowed"));
}

TEST_F(PlatformsTest, WarningsAreToldOnceAndErrorsAreTheFirstPlatforms) {
  ASSERT_TRUE(For("FROM alpine\nMAINTAINER me\n", {"linux/amd64", "linux/arm64"}));
  EXPECT_EQ(warnings.size(), 1u);
  auto failed = For("FROM alpine\nRUN --mount=type=nonsense true\n", {"linux/amd64", "linux/arm64"});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().span.start_line, 2);
}

}  // namespace
}  // namespace varve::dockerfile
