#include "job/built_together.h"

namespace varve::job {

void BuiltTogether::Add(const BuiltSteps& built) {
  CHECK(built.outcome.steps.size() == built.graph.steps.size());
  const auto first = static_cast<graph::StepIndex>(graph_.steps.size());
  for (graph::Step step : built.graph.steps) {
    for (graph::Ref& input : step.inputs) input.step += first;
    graph_.Add(std::move(step));
  }
  auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  append(outcome_.steps, built.outcome.steps);
  append(outcome_.wanted, built.outcome.wanted);
  append(images_, built.images);
  mount_namespace_ = built.mount_namespace;
}

}  // namespace varve::job
