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
  EXPECT_EQ(json.Dump({.indent = 2}), "{\n  \"a\": [],\n  \"b\": [\n    1,\n    {\n      \"c\": \"d\"\n    }\n  ]\n}");
}

TEST(Json, BytesThatAreNotUtf8StayDistinct) {
  EXPECT_EQ(Json("a\xff").Dump(), "\"a\\udcff\"");
  EXPECT_NE(Json("\xfe").Dump(), Json("\xff").Dump());
  EXPECT_EQ(Json("é").Dump(), "\"é\"");
}

TEST(Json, BytesThatAreNotUtf8ComeBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const std::string& text :
       {all, std::string("\xff\xff\x80"), std::string("é\xc3"), std::string("\xf3\xb0\x80\x80\xfe"),
        std::string("\\udcff\xff"), std::string("😀\xed\xb3\xbf")}) {
    auto parsed = Json::Parse(Json().Set(text, text).Dump());
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->GetString(text, "absent"), text);
  }
  EXPECT_EQ(Json::Parse("\"\\ud83d\\ude00\\udcff\"")->as_string(), "😀\xff");
  EXPECT_FALSE(Json::Parse("\"\\udc00\""));  // no byte
  EXPECT_FALSE(Json::Parse("\"\\ud83d\""));
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
