#include "dockerfile/history.h"

#include <gtest/gtest.h>

#include "base/go_quote.h"
#include "dockerfile/step_name.h"

namespace varve::dockerfile {
namespace {

TEST(GoNotation, QuotesAsStrconvDoes) {
  EXPECT_EQ(GoQuote("a\"b\\c\n\t\x01\x7f"), R"("a\"b\\c\n\t\x01\x7f")");
  EXPECT_EQ(GoQuote("ü€😀"), "\"ü€😀\"");
  EXPECT_EQ(GoQuote("\xff\xc3"), R"("\xff\xc3")");
  EXPECT_EQ(GoQuote("\xc2\xa0\xe2\x80\xa8\xef\xbb\xbf"), R"("\u00a0\u2028\ufeff")");
  EXPECT_EQ(GoQuote("\xf3\xa0\x80\x81"), R"("\U000e0001")");
  EXPECT_EQ(GoQuotedList({"a b", "c"}), R"(["a b" "c"])");
  EXPECT_EQ(GoQuotedList({}), "[]");
  EXPECT_EQ(GoList({"a", "b"}), "[a b]");
}

TEST(GoNotation, WritesDurationsAsTimeDoes) {
  using std::chrono::nanoseconds;
  EXPECT_EQ(GoDuration(nanoseconds(0)), "0s");
  EXPECT_EQ(GoDuration(nanoseconds(1)), "1ns");
  EXPECT_EQ(GoDuration(nanoseconds(1'500)), "1.5µs");
  EXPECT_EQ(GoDuration(std::chrono::milliseconds(100)), "100ms");
  EXPECT_EQ(GoDuration(std::chrono::milliseconds(1'050)), "1.05s");
  EXPECT_EQ(GoDuration(std::chrono::seconds(90)), "1m30s");
  EXPECT_EQ(GoDuration(std::chrono::hours(25)), "25h0m0s");
}

TEST(StepNames, ShowNumbersPlatformsAndTriggers) {
  StepNumbers numbers;
  EXPECT_EQ(numbers.Next("", false), "") << "nothing counts";
  numbers.Expect(10);
  EXPECT_EQ(numbers.Next("", false), "[ 1/10] ");
  numbers.SetStage("build");
  EXPECT_EQ(numbers.Next("linux/arm64", true), "[linux/arm64 build  2/10] ONBUILD ");
  EXPECT_EQ(numbers.Again("", false), "[build  2/10] ");
}

TEST(StepNames, CrossBuildsShowBothPlatforms) {
  oci::Platform amd64{.os = "linux", .architecture = "amd64"};
  auto name = [&](std::map<std::string, std::string, std::less<>> variables) {
    return PlatformPrefix(amd64, [&](std::string_view key) -> std::optional<std::string> {
      auto it = variables.find(key);
      if (it == variables.end()) return {};
      return it->second;
    });
  };
  EXPECT_EQ(name({}), "linux/amd64");
  EXPECT_EQ(name({{"TARGETPLATFORM", "linux/amd64"}}), "linux/amd64");
  EXPECT_EQ(name({{"TARGETPLATFORM", "linux/arm/v6"}}), "linux/amd64->arm/v6");
  EXPECT_EQ(name({{"TARGETARCH", "s390x"}}), "linux/amd64->s390x");
  EXPECT_EQ(name({{"TARGETOS", "freebsd"}, {"TARGETARCH", "amd64"}}), "linux/amd64->freebsd/amd64");
}

TEST(StepNames, SummariesAndInternalNames) {
  EXPECT_EQ(UpperCaseInstruction("run echo Run"), "RUN echo Run");
  EXPECT_EQ(SummariseHeredoc("\n  one\r\ntwo\n"), "one...");
  EXPECT_EQ(SummariseHeredoc("one\n"), "one");
  EXPECT_EQ(MetadataStepName("docker.io/library/a:1", {}), "[internal] load metadata for docker.io/library/a:1");
  EXPECT_EQ(MetadataStepName("r", oci::Platform{.os = "linux", .architecture = "arm64"}),
            "[linux/arm64 internal] load metadata for r");
}

}  // namespace
}  // namespace varve::dockerfile
