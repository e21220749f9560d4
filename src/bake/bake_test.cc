// What the recorded answers of tests/bake do not say: messages, and what their buildx is too old for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bake/selection.h"
#include "base/strings.h"

namespace varve::bake {
namespace {

using ::testing::UnorderedElementsAre;

ReadOptions Options() {
  return {
      .working_directory = "/work", .environment = {{"FROM_ENV", "env"}}, .built_in = {{"BAKE_CMD_CONTEXT", "cwd://"}}};
}

Result<Selection> Bake(const std::string& text, Strings names = {}, const Strings& set = {},
                       const ReadOptions& options = Options()) {
  TRY_ASSIGN(auto definition, Read({{"f.hcl", text}}, options));
  return Select(definition, std::move(names), set, options.environment);
}

std::string FirstLine(const Error& error) { return error.message.substr(0, error.message.find('\n')); }

TEST(Bake, WhatIsNotKnownIsPassedOverWithItsPlace) {
  auto definition = Read({{"f.hcl",
                           "target \"default\" {\n  tagz = [nowhere]\n  args {}\n}\n"
                           "group \"g\" {\n  targets = []\n  foo = 1\n}\n"
                           "variable \"v\" {\n  foo = 1\n}\n"
                           "targets \"t\" {}\n"}},
                         Options());
  ASSERT_TRUE(definition) << definition.error().message;
  EXPECT_THAT(
      definition->warnings,
      UnorderedElementsAre(
          "f.hcl:2,3-7: the argument \"tagz\" is not known, and is passed over. Did you mean \"tags\"?",
          "f.hcl:3,3-8: the block \"args\" is not known, and is passed over. Did you mean an argument? Then an equals "
          "sign assigns its value.",
          "f.hcl:7,3-6: the argument \"foo\" is not known, and is passed over.",
          "f.hcl:10,3-6: the argument \"foo\" is not known, and is passed over.",
          "f.hcl:12,1-12: the block \"targets\" is not known, and is passed over. Did you mean \"target\"?"));
  EXPECT_EQ(definition->FindTarget("default")->tags, std::nullopt);
}

TEST(Bake, AnUnknownAttributeOfAFunctionIsAnErrorWithItsPlace) {
  auto selection = Bake("function \"f\" {\n  resultz = [\"a\"]\n}\n");
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().message,
            "f.hcl:2,3-10: Unsupported argument; An argument named \"resultz\" is not expected here. Did you mean "
            "\"result\"?\n"
            "--------------------\n"
            "   1 |     function \"f\" {\n"
            "   2 | >>>   resultz = [\"a\"]\n"
            "     |       ^~~~~~~\n"
            "   3 |     }\n"
            "--------------------");
}

TEST(Bake, CommandLineVariablesWinOverTheEnvironment) {
  ReadOptions options = Options();
  options.variables["FROM_ENV"] = "var";
  const char* text = "variable \"FROM_ENV\" {}\ntarget \"default\" { tags = [FROM_ENV] }\n";
  EXPECT_EQ(*Bake(text)->targets.at("default").tags, Strings{"env"});
  EXPECT_EQ(*Bake(text, {}, {}, options)->targets.at("default").tags, Strings{"var"});
  options.environment.clear();
  options.variables.clear();
  EXPECT_EQ(*Bake(text, {}, {}, options)->targets.at("default").tags, Strings());  // "" is no tag
}

TEST(Bake, BuiltInVariablesCannotBeOverridden) {
  ReadOptions options = Options();
  options.variables["BAKE_CMD_CONTEXT"] = "mine";
  auto selection = Bake("target \"default\" { context = BAKE_CMD_CONTEXT }\n", {}, {}, options);
  EXPECT_EQ(selection->targets.at("default").context, "cwd://");
}

TEST(Bake, CyclesAreSaid) {
  auto variables = Bake("variable \"A\" { default = B }\nvariable \"B\" { default = A }\ntarget \"default\" {}\n");
  EXPECT_NE(FirstLine(variables.error()).find("variable cycle not allowed for A"), std::string::npos);
  auto targets =
      Bake("target \"a\" { context = target.b.context }\ntarget \"b\" { context = target.a.context }\n", {"a"});
  EXPECT_NE(FirstLine(targets.error()).find("reference cycle not allowed for target.a.context"), std::string::npos);
}

TEST(Bake, ResourcesMergePerField) {
  auto selection = Bake(
      "target \"p\" { resources = { memory = \"1g\", cpu-shares = 2 } }\n"
      "target \"default\" {\n inherits = [\"p\"]\n resources = { memory = \"2g\" }\n}\n",
      {}, {"default.resources.cpuset-cpus=0"});
  ASSERT_TRUE(selection) << selection.error().message;
  std::map<std::string, std::string> expected = {{"memory", "2g"}, {"cpu-shares", "2"}, {"cpuset-cpus", "0"}};
  EXPECT_EQ(selection->targets.at("default").resources, expected);
  EXPECT_FALSE(Bake("target \"default\" { resources = { memoy = \"1g\" } }\n"));
}

TEST(Bake, ASecretIsOverriddenByItsId) {
  const char* text = "target \"default\" { secret = [\"id=a,src=x\"] }\n";
  auto selection = Bake(text, {}, {"default.secret.a=env=TOKEN"});
  ASSERT_TRUE(selection) << selection.error().message;
  EXPECT_EQ(selection->targets.at("default").secret->at(0).Get("env"), "TOKEN");
  EXPECT_EQ(selection->targets.at("default").secret->at(0).Get("src"), "");
  EXPECT_FALSE(Bake(text, {}, {"default.secret.b=env=TOKEN"}));
}

// Both end empty in the reference's implementation (its defect, B13).
TEST(Bake, ListsThatTheReferenceLosesAreSet) {
  auto selection = Bake("target \"default\" { no-cache-filter = [\"a\"] }\n", {},
                        {"default.no-cache-filter+=b", "default.network=host", "default.ulimits=nofile=1"});
  EXPECT_EQ(*selection->targets.at("default").no_cache_filter, (Strings{"a", "b"}));
  EXPECT_EQ(*selection->targets.at("default").ulimits, Strings{"nofile=1"});
  EXPECT_EQ(selection->targets.at("default").network, "host");
}

TEST(Bake, PathsMayStartAtTheirFile) {
  ReadOptions options = Options();
  options.file_relative_paths = true;
  auto definition =
      Read({{"sub/a.hcl", "target \"a\" { contexts = { n = \"./d\" } }\ntarget \"b\" { context = \"x\" }\n"}}, options);
  ASSERT_TRUE(definition) << definition.error().message;
  auto selection = Select(*definition, {"a", "b"}, {}, {});
  EXPECT_EQ(selection->targets.at("a").context, "sub");
  EXPECT_EQ(selection->targets.at("a").contexts.at("n"), "sub/./d");
  EXPECT_EQ(selection->targets.at("b").context, "sub/x");
}

TEST(Bake, MissingTargetsAreGuessed) {
  auto selection = Bake("target \"web\" {}\n", {"wep"});
  EXPECT_EQ(selection.error().message, "failed to find target wep");
  EXPECT_EQ(selection.error().hint, "did you mean web?");
}

TEST(Bake, UsersComeAfterWhatTheyUse) {
  auto selection = Bake("target \"a\" { contexts = { x = \"target:z\" } }\ntarget \"z\" {}\n", {"a"});
  auto order = selection->InOrder();
  ASSERT_EQ(order.size(), 2u);
  EXPECT_EQ(order[0]->name, "z");
  EXPECT_TRUE(order[0]->linked);
}

// 40 lines that would take 2^40 bytes.
TEST(Definition, ValuesThatDoubleAreAnError) {
  for (const char* twice : {"\"${%1}${%1}\"", "[%1, %1]", "concat([%1], [%1])", "{ a = %1, b = %1 }"}) {
    std::string text = "variable \"v0\" { default = \"0123456789abcdef\" }\n";
    for (int i = 1; i <= 40; ++i) {
      std::string value = ReplaceAll(twice, "%1", fmt::format("v{}", i - 1));
      text += fmt::format("variable \"v{}\" {{ default = {} }}\n", i, value);
    }
    text += "target \"a\" { tags = [\"${length(v40)}\"] }\n";
    auto definition = Read({{"docker-bake.hcl", text}}, {.working_directory = "/"});
    ASSERT_FALSE(definition) << twice;
    EXPECT_NE(definition.error().message.find("at most 64 MiB"), std::string::npos) << definition.error().message;
  }
}

}  // namespace
}  // namespace varve::bake
