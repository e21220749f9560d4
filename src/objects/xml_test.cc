#include "objects/xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace varve::objects {
namespace {

using ::testing::HasSubstr;

TEST(Xml, GivesElementsByNameWithTheirText) {
  auto root = ParseXml(
      "<?xml version='1.0' encoding='UTF-8'?>\n<s:List xmlns:s='x'><Key>a&amp;b &#233;</Key>"
      "<Key>c</Key><Empty/><![CDATA[<raw>]]></s:List>\n");
  ASSERT_TRUE(root) << root.error().message;
  EXPECT_EQ(root->name, "List");
  EXPECT_EQ(root->text, "<raw>");
  ASSERT_EQ(root->children.size(), 3u);
  EXPECT_EQ(root->Text("Key"), "a&b é");
  EXPECT_EQ(root->Text("Empty"), "");
  EXPECT_EQ(root->Find("Absent"), nullptr);
}

TEST(Xml, EscapedTextComesBack) {
  const std::string text = "<a> & \"b\"\r\n'c' é";
  EXPECT_EQ(ParseXml("<t>" + EscapeXml(text) + "</t>")->text, text);
}

TEST(Xml, NonsenseIsCorrupt) {
  for (const char* text : {"", "hello", "<a>", "<a></b>", "<a/><b/>", "<a>\x01</a>", "<a>&x;</a>"}) {
    auto root = ParseXml(text);
    ASSERT_FALSE(root) << text;
    EXPECT_EQ(root.error().code, Code::kCorrupt);
  }
}

TEST(Xml, DocumentTypesAreRefused) {
  auto root = ParseXml("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>");
  ASSERT_FALSE(root);
  EXPECT_THAT(root.error().message, HasSubstr("document type"));
}

TEST(Xml, DeepNestingIsRefused) {
  std::string open, close;
  for (int i = 0; i < 100'000; ++i) {
    open += "<a>";
    close += "</a>";
  }
  auto root = ParseXml(open + close);
  ASSERT_FALSE(root);
  EXPECT_THAT(root.error().message, HasSubstr("nested too deeply"));
  // An empty element where it stops.
  std::string shallow;
  for (int i = 0; i < 32; ++i) shallow += "<a>";
  EXPECT_FALSE(ParseXml(shallow + "<b/>"));
}

}  // namespace
}  // namespace varve::objects
