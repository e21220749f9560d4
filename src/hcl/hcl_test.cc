#include <gtest/gtest.h>

#include "hcl/evaluate.h"
#include "hcl/functions.h"
#include "hcl/syntax.h"

namespace varve::hcl {
namespace {

// Names with fixed values.
class Fixed final : public Scope {
 public:
  std::map<std::string, Value> values;
  Result<std::optional<Found>> Find(const std::string& root, std::span<const std::string>) const override {
    auto it = values.find(root);
    if (it == values.end()) return std::optional<Found>();
    return Found{it->second, 0};
  }
  Result<std::optional<Function>> FindFunction(const std::string& name) const override {
    auto it = StandardFunctions().find(name);
    if (it == StandardFunctions().end()) return std::optional<Function>();
    return it->second;
  }
  std::vector<std::string> Names() const override { return {}; }
  std::vector<std::string> FunctionNames() const override { return {"upper"}; }
};

// The value of `a = TEXT` as JSON, or the first line of the error.
std::string Worth(const std::string& text) {
  auto body = ParseNative({"f.hcl", "a = " + text + "\n"});
  Fixed scope;
  scope.values["list"] = Value::Strings({"x", "y"});
  auto value = body ? Evaluate(*body->attributes.at(0).value, scope) : Result<Value>(body.error());
  if (value) return ToJson(*value).Dump();
  return value.error().message.substr(0, value.error().message.find('\n'));
}

TEST(Hcl, OperatorsBindAsTheSpecificationSays) {
  EXPECT_EQ(Worth("1 + 2 * 3 == 7 && !false || false"), "true");
  EXPECT_EQ(Worth("-(2 - 5) % 2"), "1");
  EXPECT_EQ(Worth("true ? 1 : false ? 2 : 3"), "1");
  EXPECT_EQ(Worth("\"is ${0.1 + 0.2}\""), "\"is 0.3\"");
}

TEST(Hcl, WhatIsNotChosenNeedsNoValue) {
  EXPECT_EQ(Worth("true ? \"a\" : nope"), "\"a\"");
  EXPECT_EQ(Worth("false && nope"), "false");
}

TEST(Hcl, ConditionalsHaveOneType) {
  EXPECT_EQ(Worth("true ? 1 : \"b\""), "\"1\"");
  EXPECT_NE(Worth("true ? [1] : {}").find("Inconsistent conditional result types"), std::string::npos);
}

TEST(Hcl, HeredocsKeepOrLoseTheirIndentation) {
  EXPECT_EQ(Worth("<<A\n  x\n y\nA"), "\"  x\\n y\\n\"");
  EXPECT_EQ(Worth("<<-A\n    x\n\n      y ${1}\n    A"), "\"x\\n\\n  y 1\\n\"");
}

TEST(Hcl, DirectivesTrimAndNest) {
  EXPECT_EQ(Worth("\"%{ for x in list ~} <${x}> %{~ endfor }\""), "\"<x><y>\"");
  EXPECT_EQ(Worth("\"%{ if true }%{ if false }a%{ else }b%{ endif }%{ endif }\""), "\"b\"");
  EXPECT_NE(Worth("\"%{ if true }a\"").find("missing its corresponding endif"), std::string::npos);
}

TEST(Hcl, SplatsTakeOneValueForAList) {
  EXPECT_EQ(Worth("{ a = 1 }[*].a"), "[1]");
  EXPECT_EQ(Worth("null[*].a"), "[]");
  EXPECT_EQ(Worth("[{ a = { b = 1 } }, { a = { b = 2 } }].*.a.b"), "[1,2]");
  EXPECT_EQ(Worth("[[1, 2], [3]][*][0]"), "[1,3]");
}

TEST(Hcl, ErrorsSayWhereAndWhatWasMeant) {
  EXPECT_EQ(Worth("uper(\"x\")"),
            "f.hcl:1,5-14: Call to unknown function; There is no function named \"uper\". Did you mean \"upper\"?");
  auto body = ParseNative({"f.hcl", "a = [\"x\"\nb = 1\n"});
  ASSERT_FALSE(body);
  EXPECT_EQ(body.error().message,
            "f.hcl:2,1-2: Missing item separator; Expected a comma to mark the beginning of the next item.\n"
            "--------------------\n"
            "   1 |     a = [\"x\"\n"
            "   2 | >>> b = 1\n"
            "     |     ^\n"
            "--------------------");
}

TEST(Hcl, DeepNestingIsRefused) {
  EXPECT_NE(Worth(std::string(5000, '[')).find("nested too deeply"), std::string::npos);
  EXPECT_NE(Worth(std::string(5000, '!')).find("nested too deeply"), std::string::npos);
  EXPECT_NE(Worth(std::string(5000, '(')).find("nested too deeply"), std::string::npos);
}

TEST(Hcl, TypesAreParsedFromExpressions) {
  auto type = TypeOf(**ParseExpression("map(list(object({a = string, b = tuple([number, bool])})))", {}));
  ASSERT_TRUE(type);
  EXPECT_EQ(type->Name(), "map of list of object");
  EXPECT_FALSE(TypeOf(**ParseExpression("list", {})));
  EXPECT_FALSE(TypeOf(**ParseExpression("lst(string)", {})));
}

TEST(Hcl, JsonNeedsASchemaForBlocks) {
  auto body = ParseJson({"f.json", R"({"t": {"a": {"x": "${1 + 1}"}, "b": [{"x": 1}, {"x": 2}]}, "y": "$${z}"})"},
                        {{"t", {.labels = 1}}});
  ASSERT_TRUE(body) << body.error().message;
  ASSERT_EQ(body->blocks.size(), 3u);
  EXPECT_EQ(body->blocks[0].labels[0], "a");
  Fixed scope;
  EXPECT_EQ(ToJson(*Evaluate(*body->blocks[0].body.attributes[0].value, scope)).Dump(), "2");
  EXPECT_EQ(Evaluate(*body->attributes[0].value, scope)->as_string(), "${z}");
}

// What the recorded answers of tests/bake cannot have: the buildx that gave them is older.
TEST(Functions, VersionsAgainstConstraints) {
  const std::tuple<const char*, const char*, bool> kCases[] = {{"1.2.3", ">= 1.2", true},
                                                               {"1.2.3", "^1.1", true},
                                                               {"2.0.0", "^1.1", false},
                                                               {"1.2.3", "~1.2", true},
                                                               {"1.3.0", "~1.2.1", false},
                                                               {"1.2.3", "1.x", true},
                                                               {"1.2.3-beta", ">1.0", false},
                                                               {"1.2.3-beta", ">=1.0.0-0", true},
                                                               {"0.3.1", "^0.3", true},
                                                               {"0.4.0", "^0.3", false},
                                                               {"1.5.0", "1.2 - 1.4", false},
                                                               {"1.4.5", "1.2 - 1.4", true},
                                                               {"v3.0.0", ">1 <4 || 9", true},
                                                               {"1.2.3", "!=1.2.3", false},
                                                               {"1.2.0", "=1.2.0", true},
                                                               {"1.2.3", "1.2", true},
                                                               {"1.0.0-alpha.2", "<1.0.0-alpha.10", true}};
  for (const auto& [version, constraint, holds] : kCases) {
    EXPECT_EQ(Worth(fmt::format("semvercmp(\"{}\", \"{}\")", version, constraint)), holds ? "true" : "false")
        << version << " " << constraint;
  }
  EXPECT_NE(Worth("semvercmp(\"x\", \"1\")").find("invalid semantic version"), std::string::npos);
  EXPECT_NE(Worth("semvercmp(\"1.0.0\", \"%%\")").find("improper constraint"), std::string::npos);
}

TEST(Functions, Timestamps) {
  EXPECT_EQ(Worth("formattimestamp(\"YYYY-MM-DD\", 1700000000)"), "\"2023-11-14\"");
  EXPECT_EQ(Worth("formattimestamp(\"X\", \"2024-01-01T00:00:00+01:00\")"), "\"1704063600\"");
  EXPECT_EQ(Worth("unixtimestampparse(1690328596).rfc3339"), "\"2023-07-25T23:43:16Z\"");
  EXPECT_EQ(Worth("unixtimestampparse(1690328596).iso_week"), "30");
  EXPECT_NE(Worth("formatdate(\"YYYY\", \"2024-13-01T00:00:00Z\")").find("not a valid RFC3339 timestamp"),
            std::string::npos);
}

TEST(Functions, AllOfTheReferenceAreThere) {
  const char* kNames =
      "absolute add and base64decode base64encode basename bcrypt byteslen bytesslice ceil chomp chunklist cidrhost "
      "cidrnetmask "
      "cidrsubnet cidrsubnets coalesce coalescelist compact concat contains csvdecode dirname distinct divide element "
      "equal "
      "flatten floor format formatdate formattimestamp formatlist greaterthan greaterthanorequalto hasindex homedir "
      "indent index "
      "indexof int join jsondecode jsonencode keys length lessthan lessthanorequalto log lookup lower max md5 merge "
      "min modulo "
      "multiply negate not notequal or parseint pow range regex regex_replace regexall replace reverse reverselist "
      "rsadecrypt "
      "sanitize semvercmp sethaselement setintersection setproduct setsubtract setsymmetricdifference setunion sha1 "
      "sha256 sha512 "
      "signum slice sort split strlen substr subtract timeadd timestamp title trim trimprefix trimspace trimsuffix "
      "unixtimestampparse upper urlencode uuidv4 uuidv5 values zipmap ";
  std::string name;
  for (const char* c = kNames; *c != '\0'; ++c) {
    if (*c != ' ') {
      name += *c;
      continue;
    }
    EXPECT_TRUE(StandardFunctions().contains(name)) << name;
    name.clear();
  }
}

}  // namespace
}  // namespace varve::hcl
