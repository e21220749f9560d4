#include "dockerfile/stage_state.h"

#include "base/rel_path.h"
#include "graph/source_url.h"

namespace varve::dockerfile {

std::optional<graph::Ref> RootOf(Lowering& lowering, StageState& stage) {
  if (!stage.pending_base) return stage.root;
  graph::Step step = std::move(*stage.pending_base);
  stage.pending_base.reset();
  if (stage.base_is_numbered) {
    std::string platform = lowering.options.multi_platform ? step.platform.ToString() : "";
    step.name = stage.numbers.Next(platform, false) + step.name;
    step.stage = stage.display_name;
  }
  stage.root = lowering.steps.AddOnce(std::move(step));
  return stage.root;
}

std::optional<graph::Ref> BaseOf(Lowering& lowering, StageState& stage) {
  const std::optional<graph::Ref> root = RootOf(lowering, stage);
  if (!root || !graph::IsDirectory(lowering.steps.graph().at(*root).op)) return root;
  graph::Step copy = lowering.steps.graph().at(*root);
  copy.op = graph::FileOp{.base = -1, .actions = {graph::Copy{.input = 0, .from = {}, .dest = "/"}}};
  copy.inputs = {*root};
  copy.name = "[internal] " + copy.name;
  copy.text = copy.name;
  stage.root = lowering.steps.AddOnce(std::move(copy));
  return stage.root;
}

graph::Ref ContextRoot(Lowering& lowering) {
  if (lowering.context) return *lowering.context;
  const MainContext& context = lowering.options.context;
  graph::Step source;
  source.op = context.source;
  if (const auto* git = std::get_if<graph::GitSource>(&context.source)) {
    source.name = "[internal] load git source " + graph::WithoutPassword(git->remote);
    if (!git->ref.empty()) source.name += "#" + git->ref;
  } else if (std::holds_alternative<graph::HttpSource>(context.source)) {
    source.name = "[internal] load remote build context";
  } else {
    source.name = "[internal] load build context";
  }
  source.text = source.name;
  graph::Ref root = lowering.steps.AddOnce(std::move(source));
  auto scoped = [&](graph::Copy copy, const char* name) {
    graph::Step step;
    step.name = name;
    step.text = name;
    step.inputs = {root};
    copy.input = 0;
    copy.dest = "/";
    step.op = graph::FileOp{.base = -1, .actions = {std::move(copy)}};
    root = lowering.steps.AddOnce(std::move(step));
  };
  if (const auto* http = std::get_if<graph::HttpSource>(&context.source); http != nullptr && context.unpack) {
    graph::Copy copy;
    copy.from.path = http->filename;
    copy.unpack = true;
    scoped(std::move(copy), "[internal] unpack remote build context");
  }
  if (!context.subdir.empty()) {
    graph::Copy copy;
    copy.from.path = RelPath(context.subdir).str();
    scoped(std::move(copy), "[internal] use directory of build context");
  }
  lowering.context = root;
  return root;
}

}  // namespace varve::dockerfile
