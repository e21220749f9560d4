#include "policy/source_policy.h"

#include "base/thread_pool.h"

namespace varve::policy {

namespace {

// A policy may ask its client, who may answer about one source only when it has been asked about another.
constexpr size_t kThreads = 32;

bool IsImage(const graph::Op& op) {
  return std::holds_alternative<graph::ImageSource>(op) || std::holds_alternative<graph::OciLayoutSource>(op);
}

}  // namespace

void Normalise(graph::SourceName& source) {
  auto op = graph::ParseSource(source);
  if (op) source.identifier = graph::NameOfSource(*op).identifier;
}

Result<graph::Op> Evaluate(SourcePolicy& policy, const graph::Op& source, const oci::Platform& platform) {
  graph::SourceName name = graph::NameOfSource(source);
  TRY_ASSIGN(bool changed, policy.Evaluate(name, platform));
  if (!changed) return source;
  return graph::ParseSource(name);
}

Status Apply(SourcePolicy& policy, graph::Graph& graph) {
  std::vector<graph::Step*> sources;
  for (graph::Step& step : graph.steps) {
    if (graph::IsSource(step.op)) sources.push_back(&step);
  }
  return ParallelFor(sources.size(), kThreads, [&](size_t i) -> Status {
    graph::Step& step = *sources[i];
    TRY_ASSIGN(graph::Op op, Evaluate(policy, step.op, step.platform));
    if (IsImage(step.op) && !IsImage(op)) {
      return Invalid("source policy: \"{}\" is an image that steps are built on, and cannot become \"{}\"",
                     graph::NameOfSource(step.op).identifier, graph::NameOfSource(op).identifier);
    }
    const auto* was = std::get_if<graph::LocalSource>(&step.op);
    auto* is = std::get_if<graph::LocalSource>(&op);
    if (was != nullptr && is != nullptr) is->ignore_file = was->ignore_file;
    step.op = std::move(op);
    return Ok();
  });
}

}  // namespace varve::policy
