// The source policies of one job: rules that its requests carry (SolveRequest.source_policy and those of front ends),
// and a client that is asked about each source (SolveRequest.source_policy_session).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/gateway.pb.h"
#include "api/ops.pb.h"
#include "api/policy_session.pb.h"
#include "base/guarded.h"
#include "policy/source_policy.h"

namespace varve::daemon {

namespace policysession = moby::buildkit::v1::sourcepolicy::policysession;

// kInvalid in BuildKit's words for a rule that says too little.
Result<policy::SourceRules> RulesOf(const moby::buildkit::v1::sourcepolicy::Policy& policy);

class JobPolicy final : public policy::SourcePolicy {
 public:
  struct Client {
    std::function<Result<policysession::CheckPolicyResponse>(const policysession::CheckPolicyRequest&)> check;
    // What the client wants to know before it decides.
    std::function<Result<moby::buildkit::v1::frontend::ResolveSourceMetaResponse>(
        const moby::buildkit::v1::frontend::ResolveSourceMetaRequest&)>
        resolve;
  };
  // Without Client::check the rules alone decide.
  JobPolicy(std::vector<policy::SourceRules> lists, Client client)
      : lists_(std::move(lists)), client_(std::move(client)) {}

  Result<bool> Evaluate(graph::SourceName& source, const oci::Platform& platform) override;
  // What the client has to say about the sources that it denied, for its user.
  std::vector<std::string> deny_messages() const { return *deny_messages_.Lock(); }

 private:
  enum class Verdict { kAllowed, kConverted };
  Result<Verdict> Ask(graph::SourceName& source, const oci::Platform& platform, int& questions);

  const std::vector<policy::SourceRules> lists_;
  const Client client_;
  mutable Guarded<std::vector<std::string>> deny_messages_;
};

// The sources of a definition that a policy has changed: llb::DecodeOptions::replaced.
Result<std::map<std::string, graph::SourceName>> ReplacedSources(const pb::Definition& definition,
                                                                 policy::SourcePolicy& policy);

}  // namespace varve::daemon
