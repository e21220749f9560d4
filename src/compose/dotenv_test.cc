#include "compose/dotenv.h"

#include <gtest/gtest.h>

namespace varve::compose {
namespace {

std::string Read(std::string_view text, const std::string& name) {
  Environment out;
  auto outer = [](const std::string& key) -> std::optional<std::string> {
    return key == "OUTER" ? std::optional<std::string>("o") : std::nullopt;
  };
  Status read = ReadDotenv(text, ".env", outer, out);
  if (!read) return "ERROR " + read.error().message;
  return out.contains(name) ? "[" + out[name] + "]" : "none";
}

TEST(Dotenv, PlainValuesAreTrimmedAndHaveComments) {
  EXPECT_EQ(Read("# c\n\nA = x y # z\n", "A"), "[x y]");
  EXPECT_EQ(Read("export A=x#y", "A"), "[x#y]");
  EXPECT_EQ(Read("A: yaml\r\n", "A"), "[yaml]");
  EXPECT_EQ(Read("A=", "A"), "[]");
  EXPECT_EQ(Read("\xEF\xBB\xBF"
                 "A=b",
                 "A"),
            "[b]");
}

TEST(Dotenv, QuotesDecideWhatIsExpanded) {
  EXPECT_EQ(Read("B=1\nA='$B \\n'", "A"), "[$B \\n]");
  EXPECT_EQ(Read("B=1\nA=\"$B\\n\\$B \\\"q\\\"\"  # c", "A"), "[1\n$B \"q\"]");
  EXPECT_EQ(Read("A=\"one\ntwo\"\nC=3", "A"), "[one\ntwo]");
  EXPECT_EQ(Read("A=\"one\ntwo\"\nC=3", "C"), "[3]");
  EXPECT_EQ(Read("A=\"\\0101\"", "A"), "[A]");
}

TEST(Dotenv, OuterValuesWinInsideOfValues) { EXPECT_EQ(Read("OUTER=inner\nA=${OUTER}${X:-d}", "A"), "[od]"); }

TEST(Dotenv, NameAloneIsInherited) {
  EXPECT_EQ(Read("OUTER\nNOT\n", "OUTER"), "[o]");
  EXPECT_EQ(Read("OUTER\nNOT\n", "NOT"), "none");
}

TEST(Dotenv, ErrorsNameTheLine) {
  EXPECT_EQ(Read("A=1\nB C=2\n", "A"), "ERROR .env:2: \"B C\" is no variable's name");
  EXPECT_EQ(Read("A=\"x\n", "A"), "ERROR .env:1: the quote is not closed");
  EXPECT_EQ(Read("A=1\nB='it''s'\n", "A"), "ERROR .env:2: \"'s'\" after the closing quote");
}

}  // namespace
}  // namespace varve::compose
