#include "job/source_policy.h"

#include <cstdlib>

#include "base/fd.h"
#include "policy/policy_file.h"

namespace varve::job {

namespace {

constexpr uint64_t kMaxPolicy = 16 << 20;

}  // namespace

Result<std::shared_ptr<policy::SourcePolicy>> ReadSourcePolicy(const BuildFlags& flags) {
  std::string path = flags.source_policy_file;
  // As buildx, also for the builds of Bake and Compose files.
  if (const char* named = std::getenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"); path.empty() && named != nullptr)
    path = named;
  if (path.empty()) return std::shared_ptr<policy::SourcePolicy>();
  auto read = [&]() -> Result<policy::SourceRules> {
    TRY_ASSIGN(std::string text, ReadFile(path, kMaxPolicy));
    return policy::ParsePolicyFile(text);
  };
  auto rules = read();
  if (!rules) return Error(std::move(rules).error()).With("source policy " + path);
  return std::make_shared<policy::RulePolicy>(std::vector{std::move(*rules)});
}

}  // namespace varve::job
