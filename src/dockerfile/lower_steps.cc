#include "dockerfile/lower_steps.h"

namespace varve::dockerfile {

namespace {

// CanonicalOp leaves out what does not decide content; for two steps to be one they must also agree
// on how content is obtained.
std::string Identity(const graph::Step& step) {
  Json json = graph::CanonicalOp(step);
  json.Set("platform", oci::ToJson(step.platform)).Set("no_cache", step.no_cache);
  Json inputs = Json::EmptyArray();
  for (const graph::Ref& input : step.inputs) {
    inputs.Append(Json().Append(input.step).Append(input.output));
  }
  json.Set("inputs", inputs);
  if (const auto* image = std::get_if<graph::ImageSource>(&step.op)) {
    json.Set("resolve_mode", static_cast<int>(image->resolve_mode));
  } else if (const auto* git = std::get_if<graph::GitSource>(&step.op)) {
    json.Set("auth", Json().Append(git->auth_token_secret).Append(git->auth_header_secret));
    json.Set("ssh", git->ssh_id).Set("fetch_by_commit", git->fetch_by_commit);
  }
  return json.DumpCanonical();
}

}  // namespace

graph::Ref StepSet::AddOnce(graph::Step step) {
  auto [it, is_new] = known_.try_emplace(Identity(step), 0);
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
    // Only sources and file operations are compared: what CanonicalOp leaves out of an Exec
    // (limits, cache ids) may differ between two builds.
    bool exec = std::holds_alternative<graph::Exec>(step.op);
    indexes[i] = exec ? graph_.Add(std::move(step)) : AddOnce(std::move(step)).step;
  }
  if (mapping != nullptr) *mapping = indexes;
  return {indexes.at(root.step), root.output};
}

}  // namespace varve::dockerfile
