#include "policy/policy_file.h"

#include <gtest/gtest.h>

namespace varve::policy {
namespace {

std::string Why(std::string_view json) {
  auto rules = ParsePolicyFile(json);
  return rules ? "" : rules.error().ToString();
}

TEST(PolicyFile, IsWhatBuildKitsClientsRead) {
  auto rules = ParsePolicyFile(R"({"version": 1, "rules": [
      {"action": "DENY", "selector": {"identifier": "*"}},
      {"action": 0, "selector": {"identifier": "^https://", "match_type": "REGEX",
       "constraints": [{"key": "http.checksum", "value": "", "condition": "NOTEQUAL"}]}},
      {"action": "CONVERT", "selector": {"identifier": "https://a", "matchType": "EXACT"},
       "updates": {"attrs": {"http.checksum": "sha256:1"}}}]})");
  ASSERT_TRUE(rules) << rules.error().message;
  graph::SourceName source{.identifier = "https://a", .attributes = {}};
  auto changed = Evaluate(std::vector{*rules}, source);
  ASSERT_TRUE(changed) << changed.error().message;
  EXPECT_EQ(source.attributes.at("http.checksum"), "sha256:1");
  graph::SourceName other{.identifier = "https://b", .attributes = {}};
  EXPECT_FALSE(Evaluate(std::vector{*rules}, other));
}

TEST(PolicyFile, WithoutRulesAllowsAll) {
  auto rules = ParsePolicyFile("{}");
  ASSERT_TRUE(rules);
  graph::SourceName source{.identifier = "https://a", .attributes = {}};
  EXPECT_TRUE(rules->Apply(source));
}

TEST(PolicyFile, MisspeltRulesAreRefused) {
  EXPECT_EQ(Why(R"({"rule": []})"), "the policy has an unknown member \"rule\"");
  EXPECT_EQ(Why(R"({"rules": [{"action": "DENY", "selectors": {"identifier": "*"}}]})"),
            "rule 1: it has an unknown member \"selectors\"");
  EXPECT_EQ(Why(R"({"rules": [{"action": "DENY"}]})"), "rule 1: it has no selector");
  EXPECT_EQ(Why(R"({"rules": [{"action": "DENY", "selector": {}}]})"), "rule 1: the selector has no identifier");
  EXPECT_EQ(
      Why(R"({"rules": [{"selector": {"identifier": "*"}}, {"action": "deny", "selector": {"identifier": "*"}}]})"),
      "rule 2: action is \"deny\"; it may be ALLOW, DENY, CONVERT");
  EXPECT_EQ(
      Why(R"({"rules": [{"action": "CONVERT", "selector": {"identifier": "*"}, "updates": {"attrs": {"a": 1}}}]})"),
      "rule 1: a is no string: 1");
  EXPECT_EQ(Why("[]"), "the policy is no JSON object");
}

}  // namespace
}  // namespace varve::policy
