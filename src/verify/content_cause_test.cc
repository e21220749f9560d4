#include "verify/content_cause.h"

#include <gtest/gtest.h>

namespace varve::verify {
namespace {

Cause CauseOf(std::string_view a, std::string_view b) { return ExplainContent(a, b).cause; }

TEST(ContentCause, DatesAndClockTimes) {
  EXPECT_EQ(CauseOf("built 2026-11-21 09:12:03\n", "built 2026-11-21 09:14:40\n"), Cause::kTime);
  EXPECT_EQ(CauseOf("Sat Nov 21 09:12:03 UTC 2026", "Sat Nov 21 09:12:04 UTC 2026"), Cause::kTime);
  EXPECT_EQ(CauseOf("d = 21 Nov 2026", "d = 22 Nov 2026"), Cause::kTime);
  EXPECT_EQ(CauseOf("version 20261121091203", "version 20261121091404"), Cause::kTime);
}

TEST(ContentCause, SecondsSince1970) {
  EXPECT_EQ(CauseOf("T=1763716323;", "T=1763716480;"), Cause::kTime);
  EXPECT_EQ(CauseOf("{\"t\":1763716323123}", "{\"t\":1763716480001}"), Cause::kTime);
  EXPECT_EQ(CauseOf("n=1234567890123456", "n=1234567890123457"), Cause::kOther);
}

TEST(ContentCause, TimesInBinaryFields) {
  std::string a("\x1f\x8b\x08\x00\x23\x11\x20\x69 rest", 13), b("\x1f\x8b\x08\x00\x99\x12\x20\x69 rest", 13);
  EXPECT_EQ(CauseOf(a, b), Cause::kTime);
}

TEST(ContentCause, PathsOfTheBuild) {
  EXPECT_EQ(CauseOf("cd /tmp/tmp.aB3dE9xyz/src", "cd /tmp/tmp.zz9Lk20ab/src"), Cause::kPath);
  EXPECT_EQ(CauseOf("prefix=/opt/one/lib", "prefix=/opt/two/lib"), Cause::kPath);
}

TEST(ContentCause, RandomNames) {
  EXPECT_EQ(CauseOf("id: 3f2a9c41-7b1e-4c7e-9a51-0c2c7a6d3b11", "id: 9f2a9c41-7b1e-4c7e-9a51-0c2c7a6d3b11"),
            Cause::kIdentifier);
  EXPECT_EQ(CauseOf("key 9f86d081884c7d659a2feaa0c55ad015", "key 1f86d081884c7d659a2feaa0c55ad015"),
            Cause::kIdentifier);
}

TEST(ContentCause, TheSameLinesInAnotherOrder) {
  EXPECT_EQ(CauseOf("a\nb\nc\n", "b\na\nc\n"), Cause::kOrder);
  EXPECT_EQ(CauseOf("a\nb\nc\n", "b\na\nd\n"), Cause::kOther);
}

TEST(ContentCause, OneIsTheBeginningOfTheOther) { EXPECT_EQ(CauseOf("log\n", "log\nmore\n"), Cause::kLength); }

TEST(ContentCause, TellsWhereAndWhatInOneLine) {
  ContentCause cause = ExplainContent("first\nsecond line\x01 a\n", "first\nsecond line\x01 b\n", 100);
  EXPECT_EQ(cause.offset, 100 + 19u);
  EXPECT_EQ(cause.first, "second line. a");
  EXPECT_EQ(cause.second, "second line. b");
  std::string long_line(500, 'x');
  EXPECT_LE(ExplainContent(long_line + "1", long_line + "2").first.size(), 60u);
}

TEST(ContentCause, EveryByteMayDiffer) {
  for (int c = 0; c < 256; ++c) {
    std::string a(1, static_cast<char>(c)), b(1, static_cast<char>(c ^ 1));
    EXPECT_EQ(ExplainContent(a, b).offset, 0u);
    EXPECT_EQ(ExplainContent("", a).cause, Cause::kLength);
  }
}

}  // namespace
}  // namespace varve::verify
