#include "daemon/job_policy.h"

#include <gtest/gtest.h>

#include <deque>

#include "llb/definition.h"

namespace varve::daemon {
namespace {

namespace proto = moby::buildkit::v1::sourcepolicy;
using moby::buildkit::v1::frontend::ResolveSourceMetaRequest;
using moby::buildkit::v1::frontend::ResolveSourceMetaResponse;

constexpr char kAlpine[] = "docker-image://docker.io/library/alpine:latest";
const oci::Platform kPlatform{.os = "linux", .architecture = "arm64"};

policysession::CheckPolicyResponse Decide(proto::PolicyAction action) {
  policysession::CheckPolicyResponse response;
  response.mutable_decision()->set_action(action);
  return response;
}

policysession::CheckPolicyResponse ConvertTo(const std::string& identifier) {
  auto response = Decide(proto::CONVERT);
  response.mutable_decision()->mutable_update()->set_identifier(identifier);
  return response;
}

// A client that answers in order, and what it was asked.
struct FakeClient {
  std::deque<policysession::CheckPolicyResponse> answers;
  std::vector<policysession::CheckPolicyRequest> questions;
  std::vector<ResolveSourceMetaRequest> resolved;

  JobPolicy Policy(std::vector<policy::SourceRules> rules = {}) {
    return JobPolicy(std::move(rules),
                     {.check = [this](const auto& request) -> Result<policysession::CheckPolicyResponse> {
                        questions.push_back(request);
                        if (answers.empty()) return Invalid("asked once too often");
                        auto answer = answers.front();
                        answers.pop_front();
                        return answer;
                      },
                      .resolve = [this](const auto& request) -> Result<ResolveSourceMetaResponse> {
                        resolved.push_back(request);
                        ResolveSourceMetaResponse response;
                        *response.mutable_source() = request.source();
                        response.mutable_image()->set_digest("sha256:1");
                        return response;
                      }});
  }
};

std::string Outcome(JobPolicy& policy, const std::string& identifier) {
  graph::SourceName source{.identifier = identifier, .attributes = {}};
  auto changed = policy.Evaluate(source, kPlatform);
  if (!changed) return changed.error().message;
  return (*changed ? "changed: " : "") + source.identifier;
}

TEST(JobPolicy, AsksTheClientAboutTheSourceAndItsPlatform) {
  FakeClient client{.answers = {Decide(proto::ALLOW)}};
  JobPolicy policy = client.Policy();
  EXPECT_EQ(Outcome(policy, "docker-image://alpine"), kAlpine);
  ASSERT_EQ(client.questions.size(), 1u);
  EXPECT_EQ(client.questions[0].source().source().identifier(), kAlpine);
  EXPECT_FALSE(client.questions[0].source().has_image());
  EXPECT_EQ(client.questions[0].platform().architecture(), "arm64");
}

TEST(JobPolicy, TellsTheClientWhatItWantsToKnow) {
  policysession::CheckPolicyResponse ask;
  ask.mutable_request()->mutable_source()->set_identifier(kAlpine);
  FakeClient client{.answers = {ask, Decide(proto::ALLOW)}};
  JobPolicy policy = client.Policy();
  EXPECT_EQ(Outcome(policy, kAlpine), kAlpine);
  ASSERT_EQ(client.questions.size(), 2u);
  EXPECT_EQ(client.questions[1].source().image().digest(), "sha256:1");
}

TEST(JobPolicy, TellsNothingOfOtherSources) {
  policysession::CheckPolicyResponse ask;
  ask.mutable_request()->mutable_source()->set_identifier("docker-image://docker.io/library/busybox:latest");
  FakeClient client{.answers = {ask}};
  JobPolicy policy = client.Policy();
  EXPECT_EQ(Outcome(policy, kAlpine),
            "policy requested different source identifier: \"docker-image://docker.io/library/busybox:latest\" != "
            "\"docker-image://docker.io/library/alpine:latest\"");
  EXPECT_TRUE(client.resolved.empty());
}

TEST(JobPolicy, AConversionOfTheClientIsAskedAboutAgain) {
  FakeClient client{.answers = {ConvertTo("https://b"), Decide(proto::ALLOW)}};
  JobPolicy policy = client.Policy();
  EXPECT_EQ(Outcome(policy, "https://a"), "changed: https://b");
  EXPECT_EQ(client.questions[1].source().source().identifier(), "https://b");
}

TEST(JobPolicy, AConversionOfTheClientIsUnderTheRules) {
  FakeClient client{.answers = {ConvertTo("https://b")}};
  auto rules = policy::SourceRules::Compile({{.action = policy::Action::kDeny, .identifier = "https://b"}});
  JobPolicy policy = client.Policy({*rules});
  EXPECT_EQ(Outcome(policy, "https://a"), "source \"https://b\" denied by policy: source denied by policy");
}

TEST(JobPolicy, EndsAConversationThatLeadsNowhere) {
  FakeClient client{.answers = std::deque(20, ConvertTo("https://a"))};
  JobPolicy policy = client.Policy();
  EXPECT_EQ(Outcome(policy, "https://a"), "too many policy requests");
  EXPECT_EQ(client.questions.size(), 10u);
}

TEST(JobPolicy, KeepsWhatTheClientSaysToItsUser) {
  auto deny = Decide(proto::DENY);
  deny.mutable_decision()->add_deny_messages()->set_message("use busybox");
  FakeClient client{.answers = {deny}};
  JobPolicy policy = client.Policy();
  EXPECT_EQ(Outcome(policy, kAlpine),
            "source \"docker-image://docker.io/library/alpine:latest\" not allowed by policy: action DENY");
  EXPECT_EQ(policy.deny_messages(), std::vector<std::string>{"use busybox"});
}

TEST(RulesOf, WhatARequestSays) {
  proto::Policy policy;
  proto::Rule* rule = policy.add_rules();
  rule->set_action(proto::CONVERT);
  rule->mutable_selector()->set_identifier("^https://(.*)$");
  rule->mutable_selector()->set_match_type(proto::REGEX);
  auto* constraint = rule->mutable_selector()->add_constraints();
  constraint->set_key("http.checksum");
  constraint->set_condition(proto::EQUAL);
  rule->mutable_updates()->set_identifier("https://mirror/$1");
  auto rules = RulesOf(policy);
  ASSERT_TRUE(rules) << rules.error().message;
  graph::SourceName source{.identifier = "https://host/a", .attributes = {}};
  ASSERT_TRUE(rules->Apply(source));
  EXPECT_EQ(source.identifier, "https://mirror/host/a");
}

TEST(RulesOf, RulesThatSayTooLittleAreRefused) {
  proto::Policy policy;
  proto::Rule* rule = policy.add_rules();
  EXPECT_EQ(RulesOf(policy).error().message, "invalid nil selector in policy");
  rule->mutable_selector()->set_identifier("a");
  rule->set_action(static_cast<proto::PolicyAction>(9000));
  EXPECT_EQ(RulesOf(policy).error().message, "source policy: rule 9000 a: unknown type \"a\"");
  rule->set_action(proto::CONVERT);
  EXPECT_EQ(RulesOf(policy).error().message, "source policy: missing destination for convert rule of \"a\"");
}

TEST(ReplacedSources, AreWhatDecodingMakesStepsOf) {
  graph::Graph graph;
  const graph::Ref a{graph.Add({.op = graph::HttpSource{.url = "https://a"}, .platform = kPlatform}), 0};
  const pb::Definition definition = llb::Encode(graph, a);
  auto rules = policy::SourceRules::Compile(
      {{.action = policy::Action::kConvert, .identifier = "https://a", .update = policy::Update{"https://b", {}}}});
  JobPolicy policy({*rules}, {});
  auto replaced = ReplacedSources(definition, policy);
  ASSERT_TRUE(replaced) << replaced.error().message;
  auto decoded = llb::Decode(definition, {.replaced = *replaced});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<graph::HttpSource>(decoded->graph.steps[0].op).url, "https://b");
}

}  // namespace
}  // namespace varve::daemon
