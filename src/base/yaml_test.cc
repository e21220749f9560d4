#include "base/yaml.h"

#include <gtest/gtest.h>

namespace varve {
namespace {

std::string Parsed(std::string_view text) {
  auto json = ParseYaml(text);
  return json ? json->Dump() : "error: " + json.error().message;
}

TEST(Yaml, CollectionsAndScalars) {
  EXPECT_EQ(Parsed("a: 1\nb:\n- x\n- {c: d, e: [f]}\n"), R"({"a":1,"b":["x",{"c":"d","e":["f"]}]})");
  EXPECT_EQ(Parsed(R"({"json": [true, null, "x"]})"), R"({"json":[true,null,"x"]})");
  EXPECT_EQ(Parsed("a: |\n  two\n  lines\n"), R"({"a":"two\nlines\n"})");
  EXPECT_EQ(Parsed(""), "null");
  EXPECT_EQ(Parsed("# nothing\n"), "null");
}

TEST(Yaml, PlainScalarsAreWhatGoReads) {
  EXPECT_EQ(Parsed("[1, -2, 0o17, 0x1F, 1.5, 1e3, 007, ~, yes, no, on, 1:30, 0.6.0, '1', \"true\"]"),
            R"([1,-2,15,31,1.5,1000,7,null,"yes","no","on","1:30","0.6.0","1","true"])");
  // As a file's mode is written.
  EXPECT_EQ(Parsed("[0755, -010, +010, 0b101, -0x10, 0O7, 1_000, 0x1_F, 1_000.5, 0_7]"),
            "[493,-8,8,5,-16,7,1000,31,1000.5,7]");
  EXPECT_EQ(Parsed("[08, 0, -0, 00, 9223372036854775807]"), "[8,0,0,0,9223372036854775807]");
  EXPECT_EQ(Parsed("[0x, 0xg, _1, 1e400, 0b2, '0755', 18446744073709551615]"),
            R"(["0x","0xg","_1","1e400","0b2","0755","18446744073709551615"])");
}

TEST(Yaml, AliasesAreCopiedAndLimited) {
  EXPECT_EQ(Parsed("a: &x [1]\nb: *x\n"), R"({"a":[1],"b":[1]})");
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int n = 0; n < 10; ++n) bomb += (n ? "," : "") + before;
    bomb += "]\n";
  }
  EXPECT_TRUE(Parsed(bomb).ends_with("too many values"));
  EXPECT_TRUE(Parsed("a: &x [*x]\n").starts_with("error: "));
}

TEST(Yaml, ErrorsSayWhere) {
  EXPECT_TRUE(Parsed("a: [1\nb: 2\n").starts_with("error: line 2, column"));
  EXPECT_TRUE(Parsed("a: 1\na: 2\n").ends_with("the key \"a\" stands twice"));
  EXPECT_TRUE(Parsed("? [1]\n: 2\n").ends_with("a key that is no text"));
  EXPECT_TRUE(Parsed("a: 1\n---\nb: 2\n").ends_with("a second document"));
  EXPECT_TRUE(Parsed(std::string(1000, '[')).starts_with("error: "));
  EXPECT_TRUE(Parsed("a: *nobody\n").starts_with("error: "));
}

}  // namespace
}  // namespace varve
