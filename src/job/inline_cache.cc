#include "job/inline_cache.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "graph/reads.h"
#include "job/noting_trees.h"
#include "tier/inline_records.h"
#include "tree/selection.h"

namespace varve::job {

namespace {

// Everybody who pulls the image gets its config.
constexpr size_t kMostTreeBytes = 256 << 10;

// Where the layers are in the image, in its order; nothing when one is not.
std::optional<std::vector<size_t>> PositionsOf(const std::vector<DiffId>& layers, const std::vector<DiffId>& image) {
  std::vector<size_t> positions;
  auto from = image.begin();
  for (const DiffId& layer : layers) {
    auto found = std::find(from, image.end(), layer);
    if (found == image.end()) return std::nullopt;
    positions.push_back(static_cast<size_t>(found - image.begin()));
    from = found + 1;
  }
  return positions;
}

// One output must be in the image; of the others it is enough to know what they were. Nothing: it is not so.
std::optional<tier::InlineRecord> InImage(const cache::StepRecord& record, const std::vector<DiffId>& image) {
  std::optional<tier::InlineRecord> found;
  std::optional<size_t> kept;
  for (size_t i = 0; i < record.outputs.size(); ++i) {
    // Layers keep their positions when an export rewrites them.
    auto positions = PositionsOf(record.outputs[i].layers, image);
    if (!positions || (kept && positions->size() <= found->layers.size())) continue;
    found = {record.key, std::move(*positions)};
    kept = i;
  }
  for (size_t i = 0; kept && i < record.outputs.size(); ++i) {
    if (i == *kept) continue;
    if (record.outputs[i].tree_root.empty()) return std::nullopt;
    found->besides.emplace(i, record.outputs[i].tree_root);
  }
  return found;
}

// The steps that the result needs; with `lineage_only`, those whose layers it is made of.
std::set<graph::StepIndex> StepsOf(const graph::Graph& graph, const std::optional<graph::Ref>& root,
                                   bool lineage_only) {
  std::set<graph::StepIndex> steps;
  std::vector<graph::StepIndex> open;
  if (root) open.push_back(root->step);
  while (!open.empty()) {
    graph::StepIndex step = open.back();
    open.pop_back();
    if (!steps.insert(step).second) continue;
    for (const graph::InputUse& use : graph::InputUses(graph.steps[step])) {
      if (use.lineage || !lineage_only) open.push_back(graph.steps[step].inputs[static_cast<size_t>(use.input)].step);
    }
  }
  return steps;
}

// Of each step but those in `own` that others copy from, as far as there is room.
tier::SeenSteps SeenBy(const graph::Graph& graph, const std::optional<graph::Ref>& root, const StepRecords& records,
                       const std::set<graph::StepIndex>& own, tree::TreeStore& trees) {
  std::map<graph::StepIndex, NotedTrees> looked_at;  // by the step that was read
  for (graph::StepIndex step : StepsOf(graph, root, false)) {
    for (const graph::InputUse& use : graph::InputUses(graph.steps[step])) {
      const graph::Ref& ref = graph.steps[step].inputs[static_cast<size_t>(use.input)];
      auto record = records.find(ref.step);
      if (use.lineage || own.contains(ref.step) || record == records.end() ||
          ref.output >= record->second.outputs.size())
        continue;
      const Digest& read = record->second.outputs[ref.output].tree_root;
      if (read.empty()) continue;
      NotingTrees noting(trees, looked_at[ref.step]);
      // An error is that of a step that cannot run.
      (void)tree::SelectionDigest(noting, read, use.selectors);
    }
  }
  tier::SeenSteps seen;
  NotedTrees all;
  size_t bytes = 0;
  for (auto& [step, objects] : looked_at) {
    size_t more = 0;
    for (const auto& [digest, object] : objects) more += all.contains(digest) ? 0 : object.size();
    const bool whole = std::ranges::none_of(records.at(step).outputs,
                                            [](const cache::Rootfs& output) { return output.tree_root.empty(); });
    if (!whole || bytes + more > kMostTreeBytes) continue;
    bytes += more;
    all.merge(objects);
    tier::SeenSteps::Record& record = seen.records.emplace_back();
    record.key = records.at(step).key;
    for (const cache::Rootfs& output : records.at(step).outputs) record.outputs.push_back(output.tree_root);
  }
  seen.objects.assign(all.begin(), all.end());
  return seen;
}

}  // namespace

bool WantsInlineCache(const BuildFlags& flags) {
  bool asked =
      std::ranges::any_of(flags.cache_to, [](const tier::Spec& spec) { return spec.kind == tier::Kind::kInline; });
  for (const auto& [name, value] : flags.build_args) {
    if (name == "BUILDKIT_INLINE_CACHE") asked = asked || ParseBool(value).value_or(false);
  }
  return asked;
}

Status AddInlineCache(const graph::Graph& graph, const std::optional<graph::Ref>& root, const StepRecords& records,
                      tree::TreeStore& trees, exporter::ImageInput& image) {
  std::vector<tier::InlineRecord> found;
  std::set<graph::StepIndex> own;
  for (graph::StepIndex step : StepsOf(graph, root, true)) {
    auto known = records.find(step);
    if (known == records.end()) continue;
    auto record = InImage(known->second, image.rootfs.layers);
    if (!record) continue;
    found.push_back(std::move(*record));
    own.insert(step);
  }
  return tier::SetInlineRecords(image.config, std::move(found), SeenBy(graph, root, records, own, trees));
}

}  // namespace varve::job
