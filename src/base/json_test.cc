#include "base/json.h"

#include <gtest/gtest.h>

namespace varve {
namespace {

TEST(Json, KeepsTheOrderOfMembers) {
  auto json = Json::Parse(R"({"b":1,"a":[true,null,"x",1.5]})");
  ASSERT_TRUE(json);
  EXPECT_EQ(json->Dump(), R"({"b":1,"a":[true,null,"x",1.5]})");
  EXPECT_EQ(json->DumpCanonical(), R"({"a":[true,null,"x",1.5],"b":1})");
}

TEST(Json, IndentsLikeGo) {
  Json json;
  json.Set("a", Json::EmptyArray()).Set("b", Json().Append(1).Append(Json().Set("c", "d")));
  EXPECT_EQ(json.Dump({.indent = 2}),
            "{\n  \"a\": [],\n  \"b\": [\n    1,\n    {\n      \"c\": \"d\"\n    }\n  ]\n}");
}

TEST(Json, BytesThatAreNotUtf8StayDistinct) {
  EXPECT_EQ(Json("a\xff").Dump(), "\"a\\udcff\"");
  EXPECT_NE(Json("\xfe").Dump(), Json("\xff").Dump());
  EXPECT_EQ(Json("é").Dump(), "\"é\"");
}

TEST(Json, EscapesHtmlOnRequestOnly) {
  EXPECT_EQ(Json("<&>").Dump(), "\"<&>\"");
  EXPECT_EQ(Json("<&>").Dump({.escape_html = true}), "\"\\u003c\\u0026\\u003e\"");
}

TEST(Json, RefusesMalformedText) {
  EXPECT_FALSE(Json::Parse("{"));
  EXPECT_FALSE(Json::Parse("[] x"));
  EXPECT_FALSE(Json::Parse(std::string(100'000, '[')));
  EXPECT_EQ(Json::Parse("").error().code, Code::kInvalid);
}

TEST(Json, TolerantReadsFallBack) {
  auto json = *Json::Parse(R"({"n":1,"s":"x","list":["a",1,"b"]})");
  EXPECT_EQ(json.GetString("n", "none"), "none");
  EXPECT_EQ(json.GetInt("n"), 1);
  EXPECT_EQ(json.GetStrings("list"), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(Json(3).GetArray("x").empty());
}

}  // namespace
}  // namespace varve
