#include "objects/probe_conditions.h"

namespace varve::objects {

std::pair<std::string, std::string> ConditionHeader(const Condition& condition) {
  if (condition.etag.empty()) return {"If-None-Match", "*"};
  return {"If-Match", condition.etag};
}

Result<bool> ProbeConditions(Transport& transport, Endpoint& endpoint, Call call, std::stop_token stop) {
  call.headers.push_back(ConditionHeader({}));
  for (int write = 1; write <= 2; ++write) {
    TRY_ASSIGN(Answer answer, transport.Ask(call, 64 << 10, stop));
    if (answer.head.status == 412) return true;
    // 501 is AWS's own answer where a header is not implemented.
    if (answer.head.status == 400 || answer.head.status == 405 || answer.head.status == 501) {
      return false;
    }
    if (!answer.ok()) return endpoint.Failure(call, answer);
  }
  return false;
}

}  // namespace varve::objects
