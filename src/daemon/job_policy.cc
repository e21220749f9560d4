#include "daemon/job_policy.h"

#include "base/thread_pool.h"
#include "llb/definition.h"

namespace varve::daemon {

namespace {

namespace proto = moby::buildkit::v1::sourcepolicy;

constexpr int kMaxQuestions = 10;  // to the client, about one source
constexpr size_t kThreads = 32;    // an answer about one source may wait for the question about another

void SetSource(const graph::SourceName& name, pb::SourceOp* to) {
  to->set_identifier(name.identifier);
  to->mutable_attrs()->clear();
  to->mutable_attrs()->insert(name.attributes.begin(), name.attributes.end());
}

Status CheckSameSource(const graph::SourceName& asked, const pb::SourceOp& wanted) {
  const graph::SourceName other = llb::SourceNameOf(wanted);
  if (other.identifier != asked.identifier) {
    return Invalid("policy requested different source identifier: \"{}\" != \"{}\"", other.identifier,
                   asked.identifier);
  }
  if (other.attributes != asked.attributes) return Invalid("policy requested different source attrs");
  return Ok();
}

}  // namespace

Result<policy::SourceRules> RulesOf(const proto::Policy& from) {
  std::vector<policy::Rule> rules;
  for (const proto::Rule& rule : from.rules()) {
    if (!rule.has_selector()) return Invalid("invalid nil selector in policy");
    const proto::Selector& selector = rule.selector();
    if (!proto::PolicyAction_IsValid(rule.action())) {
      return Invalid("source policy: rule {} {}: unknown type \"{}\"", static_cast<int>(rule.action()),
                     selector.identifier(), selector.identifier());
    }
    if (!proto::MatchType_IsValid(selector.match_type())) {
      return Invalid("unknown match type: {}", static_cast<int>(selector.match_type()));
    }
    policy::Rule& to = rules.emplace_back();
    to.action = static_cast<policy::Action>(rule.action());
    to.identifier = selector.identifier();
    to.match = static_cast<policy::Match>(selector.match_type());
    for (const proto::AttrConstraint& constraint : selector.constraints()) {
      if (!proto::AttrMatch_IsValid(constraint.condition())) {
        return Invalid("unknown attr condition: {}", static_cast<int>(constraint.condition()));
      }
      to.constraints.push_back({.attribute = constraint.key(),
                                .value = constraint.value(),
                                .condition = static_cast<policy::Condition>(constraint.condition())});
    }
    if (rule.has_updates()) {
      to.update = policy::Update{.identifier = rule.updates().identifier(),
                                 .attributes = {rule.updates().attrs().begin(), rule.updates().attrs().end()}};
    }
  }
  return policy::SourceRules::Compile(std::move(rules));
}

Result<JobPolicy::Verdict> JobPolicy::Ask(graph::SourceName& source, const oci::Platform& platform, int& questions) {
  policysession::CheckPolicyRequest request;
  llb::SetPlatform(platform, request.mutable_platform());
  SetSource(source, request.mutable_source()->mutable_source());
  while (true) {
    if (++questions > kMaxQuestions) return Invalid("too many policy requests");
    TRY_ASSIGN(auto response, client_.check(request));
    if (response.has_request()) {
      TRY(CheckSameSource(source, response.request().source()));
      auto known = client_.resolve(response.request());
      if (!known) return Error(std::move(known).error()).With("error resolving source metadata from policy request");
      *request.mutable_source() = std::move(*known);
      continue;
    }
    if (!response.has_decision()) return Invalid("no decision in policy response");
    const policysession::DecisionResponse& decision = response.decision();
    if (decision.action() == proto::ALLOW) return Verdict::kAllowed;
    if (decision.action() == proto::CONVERT) {
      if (!decision.has_update()) return Invalid("convert action requires updated source");
      source = llb::SourceNameOf(decision.update());
      return Verdict::kConverted;
    }
    {
      auto messages = deny_messages_.Lock();
      for (const auto& message : decision.deny_messages()) messages->push_back(message.message());
    }
    return Invalid("source \"{}\" not allowed by policy: action {}", source.identifier,
                   proto::PolicyAction_Name(decision.action()));
  }
}

Result<bool> JobPolicy::Evaluate(graph::SourceName& source, const oci::Platform& platform) {
  bool changed = false;
  for (int questions = 0;;) {
    policy::Normalise(source);
    TRY_ASSIGN(bool by_rules, policy::Evaluate(lists_, source));
    changed = changed || by_rules;
    if (!client_.check) return changed;
    TRY_ASSIGN(Verdict verdict, Ask(source, platform, questions));
    if (verdict == Verdict::kAllowed) return changed;
    changed = true;
  }
}

Result<std::map<std::string, graph::SourceName>> ReplacedSources(const pb::Definition& definition,
                                                                 policy::SourcePolicy& policy) {
  struct Item {
    std::string digest;
    graph::SourceName source;
    oci::Platform platform;
    bool changed = false;
  };
  std::vector<Item> items;
  for (const std::string& bytes : definition.def()) {
    pb::Op op;
    if (!op.ParseFromString(bytes) || !op.has_source()) continue;  // decoding says what is wrong with it
    items.push_back({.digest = Digest::Of(bytes).ToString(),
                     .source = llb::SourceNameOf(op.source()),
                     .platform = op.has_platform() ? llb::PlatformOf(op.platform()) : oci::HostPlatform()});
  }
  TRY(ParallelFor(items.size(), kThreads, [&](size_t i) -> Status {
    auto changed = policy.Evaluate(items[i].source, items[i].platform);
    if (!changed) return Error(std::move(changed).error()).With("error evaluating the source policy");
    items[i].changed = *changed;
    return Ok();
  }));
  std::map<std::string, graph::SourceName> replaced;
  for (Item& item : items) {
    if (item.changed) replaced[item.digest] = std::move(item.source);
  }
  return replaced;
}

}  // namespace varve::daemon
