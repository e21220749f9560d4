#include "job/inline_cache.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "graph/reads.h"
#include "tier/inline_records.h"

namespace varve::job {

namespace {

// Where the layers are in the image, in its order; nothing when one is not.
std::optional<std::vector<size_t>> PositionsOf(const std::vector<DiffId>& layers,
                                               const std::vector<DiffId>& image) {
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

// The steps whose layers the result is made of.
std::set<graph::StepIndex> StepsOf(const graph::Graph& graph, const std::optional<graph::Ref>& root) {
  std::set<graph::StepIndex> steps;
  std::vector<graph::StepIndex> open;
  if (root) open.push_back(root->step);
  while (!open.empty()) {
    graph::StepIndex step = open.back();
    open.pop_back();
    if (!steps.insert(step).second) continue;
    for (const graph::InputUse& use : graph::InputUses(graph.steps[step])) {
      if (use.lineage) open.push_back(graph.steps[step].inputs[static_cast<size_t>(use.input)].step);
    }
  }
  return steps;
}

}  // namespace

bool WantsInlineCache(const BuildFlags& flags) {
  bool asked = std::ranges::any_of(flags.cache_to, [](const tier::Spec& spec) {
    return spec.kind == tier::Kind::kInline;
  });
  for (const auto& [name, value] : flags.build_args) {
    if (name == "BUILDKIT_INLINE_CACHE") asked = asked || ParseBool(value).value_or(false);
  }
  return asked;
}

void AddInlineCache(const graph::Graph& graph, const std::optional<graph::Ref>& root,
                    const StepRecords& records, exporter::ImageInput& image) {
  std::vector<tier::InlineRecord> found;
  for (graph::StepIndex step : StepsOf(graph, root)) {
    auto known = records.find(step);
    if (known == records.end() || known->second.outputs.size() != 1) continue;
    const cache::StepRecord& record = known->second;
    // Layers keep their positions when an export rewrites them.
    auto positions = PositionsOf(record.outputs[0].layers, image.rootfs.layers);
    if (positions) found.push_back({record.key, std::move(*positions)});
  }
  tier::SetInlineRecords(image.config, std::move(found));
}

}  // namespace varve::job
