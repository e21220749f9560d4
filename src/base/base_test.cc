#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/hex.h"
#include "base/percent.h"
#include "base/rel_path.h"
#include "base/strings.h"
#include "base/thread_pool.h"

namespace varve {
namespace {

TEST(Digest, OfTheEmptyStringIsTheKnownValue) {
  EXPECT_EQ(Digest::Of("").ToString(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Digest, ParsesItsOwnTextAndNothingElse) {
  Digest d = Digest::Of("x");
  EXPECT_EQ(*Digest::Parse(d.ToString()), d);
  EXPECT_FALSE(Digest::Parse("sha512:" + d.Hex()));
  EXPECT_FALSE(Digest::Parse(d.Hex()));
  EXPECT_FALSE(Digest::ParseHex(ToUpper(d.Hex())));
}

TEST(Sha256, CanBeReusedAfterFinish) {
  Sha256 hash;
  hash.Update("a");
  EXPECT_EQ(hash.Finish(), Digest::Of("a"));
  hash.Update("b");
  EXPECT_EQ(hash.Finish(), Digest::Of("b"));
}

TEST(Hex, Base64RoundTrips) {
  for (std::string text : {"", "a", "ab", "abc", "abcd"}) {
    std::string back;
    ASSERT_TRUE(Base64Decode(Base64Encode(text), &back));
    EXPECT_EQ(back, text);
  }
  std::string out;
  EXPECT_FALSE(Base64Decode("a", &out));
}

TEST(Percent, DecodesEscapesAndKeepsWhatIsNone) {
  EXPECT_EQ(PercentDecode("a+b%2F%c3%BC~%2B%25"), "a+b/ü~+%");
  EXPECT_EQ(FormDecode("a+b%2F%c3%BC~%2B%25"), "a b/ü~+%");
  for (std::string text : {"100%", "%", "%4", "%zz", "%%"}) EXPECT_EQ(PercentDecode(text), text);
}

TEST(RelPath, NormalisesAndNeverEscapes) {
  EXPECT_EQ(RelPath("/a//./b/../c/").str(), "a/c");
  EXPECT_EQ(RelPath("../../etc").str(), "etc");
  EXPECT_TRUE(RelPath("/").IsRoot());
  EXPECT_EQ(RelPath("a/b").Parent().str(), "a");
  EXPECT_EQ(RelPath("a").Parent().str(), "");
  EXPECT_TRUE(RelPath("a/b").IsWithin(RelPath("a")));
  EXPECT_FALSE(RelPath("ab").IsWithin(RelPath("a")));
}

TEST(CleanPath, FollowsGo) {
  EXPECT_EQ(CleanPath(""), ".");
  EXPECT_EQ(CleanPath("a/../../b"), "../b");
  EXPECT_EQ(CleanPath("/../a"), "/a");
  EXPECT_EQ(JoinAbsolute("/app", "src/"), "/app/src");
  EXPECT_EQ(JoinAbsolute("/app", "/x"), "/x");
}

TEST(Strings, CsvQuotesProtectCommas) {
  EXPECT_EQ(*ParseCsvRecord(R"(a=1,"b=2,3","c=""q""")"), (std::vector<std::string>{"a=1", "b=2,3", "c=\"q\""}));
  EXPECT_FALSE(ParseCsvRecord("\"a"));
}

TEST(Strings, NearestWordSuggestsOnlyWhatIsNear) {
  std::string_view words[] = {"RUN", "COPY", "ENTRYPOINT"};
  EXPECT_EQ(NearestWord("COPPY", words), "COPY");
  EXPECT_EQ(NearestWord("ENTRYPONT", words), "ENTRYPOINT");
  EXPECT_EQ(NearestWord("XYZZY", words), std::nullopt);
}

TEST(Strings, SizesReadAndPrint) {
  EXPECT_EQ(*ParseRamBytes("64m"), 64u << 20);
  EXPECT_EQ(*ParseRamBytes("1.5GiB"), 3ull << 29);
  EXPECT_EQ(*ParseRamBytes("100"), 100u);
  EXPECT_FALSE(ParseRamBytes("x"));
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1500), "1.50 kB");
}

TEST(Clock, TimesPrintAsGoPrintsThem) {
  EXPECT_EQ(FormatTime({0}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatTime({1'500'000'000}), "1970-01-01T00:00:01.5Z");
  EXPECT_EQ(ParseTime("2024-02-03T04:05:06.7+01:00")->nanos, ParseTime("2024-02-03T03:05:06.7Z")->nanos);
  EXPECT_FALSE(ParseTime("yesterday"));
}

TEST(Clock, AgesAreInWholeUnits) {
  using std::chrono::seconds;
  EXPECT_EQ(FormatAge(seconds(-5)), "0 seconds");
  EXPECT_EQ(FormatAge(seconds(59)), "59 seconds");
  EXPECT_EQ(FormatAge(seconds(60)), "1 minute");
  EXPECT_EQ(FormatAge(seconds(47 * 3600)), "47 hours");
  EXPECT_EQ(FormatAge(seconds(48 * 3600)), "2 days");
  EXPECT_EQ(FormatTimeAgo({0}, {999'999'999}), "just now");
  EXPECT_EQ(FormatTimeAgo({0}, {1'000'000'000}), "1 second ago");
}

TEST(Clock, GoDurations) {
  EXPECT_EQ(ParseGoDuration("1h2m3.5s")->count(), 3723'500'000'000);
  EXPECT_EQ(ParseGoDuration("100ms")->count(), 100'000'000);
  EXPECT_FALSE(ParseGoDuration("10"));
  EXPECT_FALSE(ParseGoDuration("s"));
}

TEST(ThreadPool, RunsEverythingBeforeItEnds) {
  std::atomic<int> done{0};
  {
    ThreadPool pool(3);
    for (int i = 0; i < 100; ++i) pool.Submit([&] { ++done; });
  }
  EXPECT_EQ(done, 100);
}

TEST(ParallelFor, ReportsAnErrorAndStops) {
  std::atomic<int> calls{0};
  Status status = ParallelFor(1000, 4, [&](size_t i) -> Status {
    ++calls;
    if (i == 10) return Invalid("ten");
    return Ok();
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "ten");
  EXPECT_LT(calls, 1000);
}

TEST(WriteFileAtomically, PiecesAreOneFile) {
  std::vector<std::string> texts = {"head", std::string(300'000, 'x'), ""};
  for (int i = 0; i < 50'000; ++i) texts.push_back(std::to_string(i));
  std::vector<std::string_view> pieces(texts.begin(), texts.end());
  std::string all;
  for (std::string_view piece : pieces) all += piece;
  const std::string path = testing::TempDir() + "pieces";
  ASSERT_TRUE(WriteFileAtomically(path, pieces));
  EXPECT_TRUE(ReadFile(path).value() == all);
}

TEST(WriteFileAtomically, ErrorsNameTheFileThatWasAskedFor) {
  Status written = WriteFileAtomically(testing::TempDir() + "none-at-all/file", "text");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::kNotFound);
  EXPECT_EQ(written.error().message, "write " + testing::TempDir() + "none-at-all/file: No such file or directory");
}

TEST(WriteFileAtomically, WritesToADeviceInsteadOfReplacingIt) {
  std::string path = testing::TempDir() + fmt::format("/device-{}", getpid());
  ASSERT_EQ(symlink("/dev/null", path.c_str()), 0);
  Status written = WriteFileAtomically(path, "gone");
  struct stat st;
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  unlink(path.c_str());
  EXPECT_TRUE(written);
  EXPECT_TRUE(S_ISCHR(st.st_mode));
}

}  // namespace
}  // namespace varve
