#include "dockerfile/lower_steps.h"

#include "graph/join.h"

namespace varve::dockerfile {

graph::Ref StepSet::AddOnce(graph::Step step) {
  auto [it, is_new] = known_.try_emplace(graph::Identity(step), 0);
  if (is_new) {
    it->second = graph_.Add(std::move(step));
  } else {
    graph::Step& old = graph_.steps[it->second];
    if (!old.name.starts_with('[') && step.name.starts_with('[')) {
      old.name = std::move(step.name);
      old.stage = std::move(step.stage);
      old.location = std::move(step.location);
    }
  }
  return {it->second, 0};
}

graph::Ref StepSet::Import(const graph::Graph& other, graph::Ref root,
                           std::map<graph::StepIndex, graph::StepIndex>* mapping) {
  std::vector<bool> needed(other.steps.size(), false);
  needed[root.step] = true;
  for (size_t i = root.step + 1; i-- > 0;) {
    if (!needed[i]) continue;
    for (const graph::Ref& input : other.steps[i].inputs) needed[input.step] = true;
  }
  std::map<graph::StepIndex, graph::StepIndex> indexes;
  for (graph::StepIndex i = 0; i <= root.step; ++i) {
    if (!needed[i]) continue;
    graph::Step step = other.steps[i];
    for (graph::Ref& input : step.inputs) input.step = indexes.at(input.step);
    // RUN steps stay as they are, under their own names: the engine runs equal ones once.
    bool exec = std::holds_alternative<graph::Exec>(step.op);
    indexes[i] = exec ? graph_.Add(std::move(step)) : AddOnce(std::move(step)).step;
  }
  if (mapping != nullptr) *mapping = indexes;
  return {indexes.at(root.step), root.output};
}

}  // namespace varve::dockerfile
