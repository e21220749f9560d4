// The small functions under the parser.
#include <gtest/gtest.h>

#include <limits>

#include "dockerfile/duration.h"
#include "dockerfile/runes.h"
#include "dockerfile/suggest.h"

namespace varve::dockerfile {
namespace {

using std::chrono::nanoseconds;

int64_t Nanoseconds(std::string_view text) {
  auto duration = ParseDuration(text);
  EXPECT_TRUE(duration) << text;
  return duration ? duration->count() : -7;
}

TEST(Duration, AllUnitsAndFractions) {
  EXPECT_EQ(Nanoseconds("0"), 0);
  EXPECT_EQ(Nanoseconds("1ns2us3ms4s5m6h"), 21904003002001);
  EXPECT_EQ(Nanoseconds("1\u00b5s"), 1000);
  EXPECT_EQ(Nanoseconds("1\u03bcs"), 1000);
  EXPECT_EQ(Nanoseconds("1.5h"), 5400000000000);
  EXPECT_EQ(Nanoseconds("-.5s"), -500000000);
  EXPECT_EQ(Nanoseconds("+3.s"), 3000000000);
}

TEST(Duration, EndsOfTheRange) {
  EXPECT_EQ(Nanoseconds("9223372036854775807ns"), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Nanoseconds("-9223372036854775808ns"), std::numeric_limits<int64_t>::min());
  for (const char* text : {"9223372036854775808ns", "2562048h", "99999999999999999999s", "2562047h60m", "", "-", ".s",
                           "1", "s", "1 s", "1x"}) {
    EXPECT_FALSE(ParseDuration(text)) << text;
  }
}

TEST(Quote, WritesWhatGoWrites) {
  EXPECT_EQ(Quote("a\"b\\c\n\t\x01\x7f"), "\"a\\\"b\\\\c\\n\\t\\x01\\x7f\"");
  EXPECT_EQ(Quote("\xff\xc3ü한"), "\"\\xff\\xc3ü한\"");
  EXPECT_EQ(Quote("\u00a0\u200b\U000e0001"), "\"\\u00a0\\u200b\\U000e0001\"");
}

TEST(Runes, OverlongFormsAndSurrogatesAreBadBytes) {
  for (std::string_view bytes :
       {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x80\x80\x80", "\x80", "\xe2\x82"}) {
    Rune rune = DecodeRune(bytes, 0);
    EXPECT_EQ(rune.value, kBadByte);
    EXPECT_EQ(rune.size, 1u);
  }
  EXPECT_EQ(DecodeRune("\U0001F600", 0).size, 4u);
  EXPECT_EQ(DecodeRune("", 0).value, kEnd);
}

TEST(Runes, TrimTakesUnicodeSpace) {
  EXPECT_EQ(TrimUnicodeSpace("\u3000\t a\u00a0b \u2003\n"), "a\u00a0b");
  EXPECT_EQ(TrimUnicodeSpace(" \u00a0"), "");
  EXPECT_EQ(TrimUnicodeSpace("\x85\xa0"), "\x85\xa0") << "bytes that only look like Latin-1 space";
}

TEST(Suggest, NearWordsOnlyAndInTheCaseOfTheQuestion) {
  std::string_view names[] = {"ENV", "RUN", "COPY"};
  EXPECT_EQ(Suggest("RNU", names, false), "RUN");
  EXPECT_EQ(Suggest("copyy", names, false), "copy");
  EXPECT_EQ(Suggest("CPY", names, true), "COPY");
  EXPECT_EQ(Suggest("cpy", names, true), "") << "case counts";
  EXPECT_EQ(Suggest("WRONG", names, false), "");
  EXPECT_EQ(Suggest("run", names, false), "") << "the word itself is not the mistake";
  EXPECT_EQ(DidYouMean("CPY", names, true), " (did you mean COPY?)");
}

}  // namespace
}  // namespace varve::dockerfile
