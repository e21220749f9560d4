#include "daemon/invocations.h"

#include <algorithm>

namespace varve::daemon {

namespace {

// A definition ends with an Op that is nothing but its result as an input.
std::string ResultOf(const pb::Definition& definition) {
  pb::Op last;
  if (definition.def().empty() || !last.ParseFromString(*definition.def().rbegin()) || last.inputs().empty()) return "";
  return last.inputs(0).digest();
}

}  // namespace

void Invocations::Add(const std::string& build, const pb::Definition& definition, attest::Invocation invocation) {
  const std::string result = ResultOf(definition);
  if (!result.empty()) (*by_result_.Lock())[result].push_back({build, std::move(invocation)});
}

void Invocations::Forget(const std::string& build) {
  auto by_result = by_result_.Lock();
  for (auto at = by_result->begin(); at != by_result->end();) {
    std::erase_if(at->second, [&](const Call& call) { return call.build == build; });
    at = at->second.empty() ? by_result->erase(at) : std::next(at);
  }
}

std::optional<attest::Invocation> Invocations::Find(const pb::Definition& definition) const {
  auto by_result = by_result_.Lock();
  auto found = by_result->find(ResultOf(definition));
  if (found == by_result->end()) return std::nullopt;
  const std::vector<Call>& calls = found->second;
  const attest::Invocation& first = calls.front().invocation;
  const bool agree = std::ranges::all_of(calls, [&](const Call& call) { return call.invocation == first; });
  return agree ? std::optional(first) : std::nullopt;
}

}  // namespace varve::daemon
