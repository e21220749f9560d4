// What a build asks about each source before it touches it. A source that is denied ends the build before any cache is
// asked, so that nothing that an earlier build made of it is used; what a policy makes of a source is what enters keys.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "graph/source_name.h"
#include "oci/platform.h"
#include "policy/source_rules.h"

namespace varve::policy {

// Called from several threads at once.
class SourcePolicy {
 public:
  virtual ~SourcePolicy() = default;
  // Whether `source` was changed; an error where it is denied. The identifier is in its normal form (Normalise).
  virtual Result<bool> Evaluate(graph::SourceName& source, const oci::Platform& platform) = 0;
};

// Fixed lists of rules, for every platform the same.
class RulePolicy final : public SourcePolicy {
 public:
  explicit RulePolicy(std::vector<SourceRules> lists) : lists_(std::move(lists)) {}
  Result<bool> Evaluate(graph::SourceName& source, const oci::Platform&) override {
    return policy::Evaluate(lists_, source);
  }

 private:
  const std::vector<SourceRules> lists_;
};

// One spelling for one source: images with registry and tag, directories without "..". What cannot be read as a source
// stays as it is.
void Normalise(graph::SourceName& source);

// The same source, or the one that the policy has put in its place.
Result<graph::Op> Evaluate(SourcePolicy& policy, const graph::Op& source, const oci::Platform& platform);

// All sources of a graph, at once. kInvalid for an image that becomes a directory: steps of the graph write on it.
Status Apply(SourcePolicy& policy, graph::Graph& graph);

}  // namespace varve::policy
