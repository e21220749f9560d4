#include <gtest/gtest.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log_format.h"

namespace varve {
namespace {

constexpr Timestamp kTime{1'700'000'000'500'000'000};

TEST(LogFormat, TextIsOneLine) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, LogLevel::kWarn, kTime, "a\nb"),
            fmt::format("2023-11-14T22:13:20.5Z varve[{}] WARN a\\nb\n", getpid()));
}

TEST(LogFormat, JsonHasTheMembersOfBuildkitdsLog) {
  const std::string line = FormatLogLine(LogFormat::kJson, LogLevel::kInfo, kTime, "a \"b\"\nc");
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  auto json = Json::Parse(line);
  ASSERT_TRUE(json) << line;
  EXPECT_EQ(json->GetString("level"), "info");
  EXPECT_EQ(json->GetString("msg"), "a \"b\"\nc");
  EXPECT_EQ(json->GetString("time"), "2023-11-14T22:13:20.5Z");
  EXPECT_EQ(json->GetInt("pid"), getpid());
}

TEST(LogFormat, NamesAreTextAndJson) {
  EXPECT_EQ(ParseLogFormat("json"), LogFormat::kJson);
  EXPECT_EQ(ParseLogFormat("text"), LogFormat::kText);
  EXPECT_FALSE(ParseLogFormat("xml"));
}

}  // namespace
}  // namespace varve
