#include "dockerfile/lower_platforms.h"

#include <optional>

#include "base/strings.h"
#include "base/thread_pool.h"

namespace varve::dockerfile {

void MoveReferences(Lowered& lowered, const graph::Joined& joined, size_t which) {
  auto move = [&](std::optional<graph::Ref>& ref) {
    if (ref) ref = joined.Place(which, *ref);
  };
  move(lowered.root);
  move(lowered.context);
  for (auto& [stage, root] : lowered.sbom_stages) move(root);
  auto move_all = [&](std::vector<HistoryEntry>& history) {
    for (HistoryEntry& entry : history) {
      if (entry.step) entry.step = joined.places[which][*entry.step];
    }
  };
  move_all(lowered.history);
  for (StageHistory& stage : lowered.other_stages) move_all(stage.history);
}

Result<bool> IsMultiPlatform(const std::vector<std::pair<std::string, std::string>>& build_args, size_t platforms) {
  bool several = platforms > 1;
  std::string asked;
  for (const auto& [name, value] : build_args) {
    if (name == "BUILDKIT_MULTI_PLATFORM") asked = value;
  }
  if (asked.empty()) return several;
  auto wanted = ParseBool(asked);
  if (!wanted) return Invalid("invalid boolean value for multi-platform: {}", asked);
  if (!*wanted && several) {
    Error error = Invalid("conflicting config: returning multiple target platforms is not allowed");
    error.hint = "leave out --build-arg BUILDKIT_MULTI_PLATFORM, or ask for one platform";
    return error;
  }
  return *wanted;
}

Parsed<LoweredPlatforms> LowerForPlatforms(const Dockerfile& file, const LowerOptions& options,
                                           const std::vector<oci::Platform>& platforms, ImageResolver& resolver,
                                           std::vector<Warning>* warnings) {
  CHECK(!platforms.empty());
  auto multi_platform = IsMultiPlatform(options.build_args, platforms.size());
  if (!multi_platform) {
    return std::unexpected(SourceError{std::move(multi_platform).error(), Span()});
  }
  std::vector<std::optional<Parsed<Lowered>>> all(platforms.size());
  Status lowered = ParallelFor(platforms.size(), platforms.size(), [&](size_t i) {
    LowerOptions one = options;
    one.target_platform = platforms[i];
    one.multi_platform = *multi_platform;
    all[i] = Lower(file, one, resolver, i == 0 ? warnings : nullptr);
    return Ok();
  });
  CHECK(lowered.has_value());

  LoweredPlatforms result{.multi_platform = *multi_platform};
  std::vector<graph::Graph> graphs;
  for (size_t i = 0; i < platforms.size(); ++i) {
    if (!*all[i]) return std::unexpected(std::move(*all[i]).error());
    graphs.push_back(std::move((*all[i])->graph));
    result.results.push_back({platforms[i], std::move(**all[i])});
  }
  graph::Joined joined = graph::Join(std::move(graphs));
  for (size_t i = 0; i < platforms.size(); ++i) {
    MoveReferences(result.results[i].lowered, joined, i);
  }
  result.graph = std::move(joined.graph);
  return result;
}

}  // namespace varve::dockerfile
