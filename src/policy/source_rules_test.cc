#include "policy/source_rules.h"

#include <gtest/gtest.h>

namespace varve::policy {
namespace {

constexpr char kAlpine[] = "docker-image://docker.io/library/alpine:latest";

SourceRules Compiled(std::vector<Rule> rules) {
  auto compiled = SourceRules::Compile(std::move(rules));
  EXPECT_TRUE(compiled) << compiled.error().message;
  return *compiled;
}

Rule Convert(std::string from, Match match, std::string to) {
  return {.action = Action::kConvert,
          .identifier = std::move(from),
          .match = match,
          .update = Update{.identifier = std::move(to), .attributes = {}}};
}

// What `identifier` becomes; the error's text where it is denied.
std::string After(std::vector<Rule> rules, std::string identifier) {
  graph::SourceName source{.identifier = std::move(identifier), .attributes = {}};
  auto changed = Evaluate(std::vector{Compiled(std::move(rules))}, source);
  if (!changed) return changed.error().message;
  return source.identifier;
}

constexpr char kDenied[] =
    "source \"docker-image://docker.io/library/alpine:latest\" denied by policy: source denied by policy";

TEST(SourceRules, TheLastMatchingOfAllowAndDenyCounts) {
  const Rule deny{.action = Action::kDeny, .identifier = "docker-image://*"};
  const Rule allow{.action = Action::kAllow, .identifier = "*alpine*"};
  EXPECT_EQ(After({deny, allow}, kAlpine), kAlpine);
  EXPECT_EQ(After({allow, deny}, kAlpine), kDenied);
}

TEST(SourceRules, WhatNoRuleSelectsIsAllowed) {
  EXPECT_EQ(After({{.action = Action::kDeny, .identifier = "http://*"}}, kAlpine), kAlpine);
}

TEST(SourceRules, AnExactSelectorTakesStarsForThemselves) {
  EXPECT_EQ(After({{.action = Action::kDeny, .identifier = "docker-image://*", .match = Match::kExact}}, kAlpine),
            kAlpine);
  EXPECT_EQ(After({{.action = Action::kDeny, .identifier = kAlpine, .match = Match::kExact}}, kAlpine), kDenied);
}

TEST(SourceRules, AWildcardIsOfTheWholeIdentifierAndOtherSignsStandForThemselves) {
  EXPECT_EQ(After({{.action = Action::kDeny, .identifier = "alpine*"}}, kAlpine), kAlpine);
  EXPECT_EQ(After({{.action = Action::kDeny, .identifier = "docker-image://docker.io/library/alpine.latest"}}, kAlpine),
            kAlpine);
}

TEST(SourceRules, StarsOfAWildcardGoIntoTheUpdate) {
  EXPECT_EQ(After({Convert("docker-image://docker.io/library/*:*", Match::kWildcard,
                           "docker-image://mirror.example.com/${1}:$2-slim")},
                  kAlpine),
            "docker-image://mirror.example.com/alpine:latest-slim");
}

TEST(SourceRules, GroupsOfARegularExpressionGoIntoTheUpdate) {
  EXPECT_EQ(After({Convert("^docker-image://docker\\.io/(?P<path>.*):latest$", Match::kRegex,
                           "docker-image://example.com/$path:pinned")},
                  kAlpine),
            "docker-image://example.com/library/alpine:pinned");
}

TEST(SourceRules, AllMatchesOfARegularExpressionAreReplaced) {
  EXPECT_EQ(After({Convert("example", Match::kRegex, "other")}, "https://example.com/example"),
            "https://other.com/other");
}

TEST(SourceRules, ATemplateReadsNamesAsLongAsTheyGo) {
  EXPECT_EQ(After({Convert("https://*/a", Match::kWildcard, "https://$1x/$$b")}, "https://host/a"), "https:///$b");
}

TEST(SourceRules, ADollarWithoutANameStandsForItself) {
  EXPECT_EQ(After({Convert("https://*/a", Match::kWildcard, "https://$1/$")}, "https://host/a"), "https://host/$");
  EXPECT_EQ(After({Convert("https://*/a", Match::kWildcard, "https://$1/${b")}, "https://host/a"), "https://host/${b");
}

TEST(SourceRules, AConversionIsJudgedByAllRulesAgain) {
  const Rule deny{.action = Action::kDeny, .identifier = "docker-image://old.example.com/*"};
  EXPECT_EQ(
      After({Convert("docker-image://docker.io/*", Match::kWildcard, "docker-image://old.example.com/$1"), deny},
            kAlpine),
      "source \"docker-image://old.example.com/library/alpine:latest\" denied by policy: source denied by policy");
}

TEST(SourceRules, AConversionSavesWhatTheRoundHasDenied) {
  EXPECT_EQ(After({{.action = Action::kDeny, .identifier = "*"},
                   {.action = Action::kAllow, .identifier = "https://b"},
                   Convert("https://a", Match::kExact, "https://b")},
                  "https://a"),
            "https://b");
}

TEST(SourceRules, AnUpdateThatChangesNothingGoesOn) {
  EXPECT_EQ(After({Convert(kAlpine, Match::kExact, kAlpine), {.action = Action::kDeny, .identifier = "*"}}, kAlpine),
            kDenied);
}

TEST(SourceRules, AnUpdateSetsAttributesAndKeepsTheOthers) {
  graph::SourceName source{.identifier = "https://host/a", .attributes = {{"http.perm", "0600"}}};
  auto changed = Evaluate(
      std::vector{Compiled({{.action = Action::kConvert,
                             .identifier = "https://host/a",
                             .update = Update{.identifier = {}, .attributes = {{"http.checksum", "sha256:1"}}}}})},
      source);
  ASSERT_TRUE(changed);
  EXPECT_TRUE(*changed);
  EXPECT_EQ(source.identifier, "https://host/a");
  EXPECT_EQ(source.attributes,
            (std::map<std::string, std::string>{{"http.checksum", "sha256:1"}, {"http.perm", "0600"}}));
}

TEST(SourceRules, AnotherRepositoryDoesNotKeepTheAddressOfTheFirst) {
  graph::SourceName source{.identifier = "git://a.example.com/p#v1",
                           .attributes = {{"git.fullurl", "ssh://a.example.com/p"}}};
  const std::vector lists{Compiled({Convert("git://a.example.com/*", Match::kWildcard, "git://b.example.com/$1")})};
  ASSERT_TRUE(Evaluate(lists, source));
  EXPECT_EQ(source, (graph::SourceName{.identifier = "git://b.example.com/p#v1", .attributes = {}}));
}

TEST(SourceRules, AnotherRefOfARepositoryKeepsItsAddress) {
  graph::SourceName source{.identifier = "git://a.example.com/p#v1",
                           .attributes = {{"git.fullurl", "ssh://a.example.com/p"}}};
  const std::vector lists{Compiled({Convert("git://a.example.com/p#v1", Match::kExact, "git://a.example.com/p#v2")})};
  ASSERT_TRUE(Evaluate(lists, source));
  EXPECT_EQ(source.attributes.at("git.fullurl"), "ssh://a.example.com/p");
}

TEST(SourceRules, ConstraintsOfASelectorMustAllHold) {
  auto denied = [](std::vector<Constraint> constraints) {
    graph::SourceName source{.identifier = "https://host/a", .attributes = {{"http.checksum", "sha256:12"}}};
    return !Compiled({{.action = Action::kDeny, .identifier = "*", .constraints = std::move(constraints)}})
                .Apply(source);
  };
  const Constraint same{"http.checksum", "sha256:12", Condition::kEqual};
  EXPECT_TRUE(denied({same}));
  EXPECT_TRUE(denied({{"http.checksum", "", Condition::kNotEqual}}));
  EXPECT_TRUE(denied({{"http.checksum", "^sha256:[0-9]+$", Condition::kMatches}}));
  EXPECT_TRUE(denied({{"http.filename", "", Condition::kEqual}}));
  EXPECT_FALSE(denied({same, {"http.filename", "a", Condition::kEqual}}));
}

TEST(SourceRules, ConversionsInACircleAreAnError) {
  EXPECT_EQ(After({Convert("https://a", Match::kExact, "https://b"), Convert("https://b", Match::kExact, "https://a")},
                  "https://a"),
            "too many mutations on a single source: too many operations: \"https://b\"");
}

TEST(SourceRules, WhatCannotWorkIsRefusedBeforeAnySourceIsSeen) {
  auto why = [](Rule rule) {
    auto compiled = SourceRules::Compile({std::move(rule)});
    return compiled ? "" : compiled.error().message;
  };
  EXPECT_EQ(why({.action = Action::kConvert, .identifier = "a"}),
            "source policy: missing destination for convert rule of \"a\"");
  EXPECT_EQ(why({.identifier = "a**"}), "source policy: invalid wildcard: \"**\" in \"a**\"");
  EXPECT_EQ(why({.identifier = "(", .match = Match::kRegex}),
            "source policy: invalid regular expression \"(\": missing ): (");
}

}  // namespace
}  // namespace varve::policy
