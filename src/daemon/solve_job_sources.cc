// SolveJob's answers about sources, and the policies that they and all builds of the job are under.
#include "daemon/solve_job_opened.h"
#include "daemon/source_meta.h"

namespace varve::daemon {

Result<std::shared_ptr<JobPolicy>> SolveJob::PolicyOf(const Policies& policies) {
  std::vector<policy::SourceRules> lists;
  if (request_.has_source_policy()) {
    TRY_ASSIGN(lists.emplace_back(), RulesOf(request_.source_policy()));
  }
  for (const auto& policy : policies) {
    TRY_ASSIGN(lists.emplace_back(), RulesOf(policy));
  }
  const std::string& session = request_.source_policy_session();
  if (lists.empty() && session.empty()) return std::shared_ptr<JobPolicy>();
  if (session.empty()) return std::make_shared<JobPolicy>(std::move(lists), JobPolicy::Client());
  TRY_ASSIGN(Opened * opened, Open());
  return std::make_shared<JobPolicy>(
      std::move(lists),
      JobPolicy::Client{
          .check = [opened, session, stop = stop_.get_token()](
                       const auto& request) { return opened->client->CheckPolicy(session, request, stop); },
          .resolve = [opened,
                      stop = stop_.get_token()](const auto& request) -> Result<gateway::ResolveSourceMetaResponse> {
            gateway::ResolveSourceMetaResponse response;
            TRY(ResolveSourceMeta(request, nullptr, opened->workspace, *opened->client, stop, response));
            return response;
          }});
}

// `use(opened, policy)`; the policy may be null.
template <class Use>
google::rpc::Status SolveJob::WithPolicy(const Policies& policies, Use use) {
  auto opened = Open();
  if (!opened) return ToProto({.error = opened.error()});
  auto policy = PolicyOf(policies);
  if (!policy) return ToProto({.error = policy.error()});
  Status used = use(**opened, policy->get());
  if (used) return {};
  Failure failure{used.error()};
  if (*policy) failure.deny_messages = (*policy)->deny_messages();
  return ToProto(failure);
}

google::rpc::Status SolveJob::ResolveImage(const gateway::ResolveImageConfigRequest& request,
                                           gateway::ResolveImageConfigResponse& response) {
  return WithPolicy(request.source_policies(), [&](Opened& opened, policy::SourcePolicy* policy) {
    return ResolveImageConfig(request, policy, opened.workspace, *opened.client, stop_.get_token(), response);
  });
}

google::rpc::Status SolveJob::ResolveSource(const gateway::ResolveSourceMetaRequest& request,
                                            gateway::ResolveSourceMetaResponse& response) {
  return WithPolicy(request.source_policies(), [&](Opened& opened, policy::SourcePolicy* policy) {
    return ResolveSourceMeta(request, policy, opened.workspace, *opened.client, stop_.get_token(), response);
  });
}

}  // namespace varve::daemon
