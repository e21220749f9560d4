#include "engine/topmost.h"

#include <algorithm>
#include <unordered_set>

namespace varve::engine {

std::vector<cache::Rootfs> Topmost(const std::vector<std::optional<cache::StepRecord>>& records) {
  std::vector<const cache::Rootfs*> all;
  for (const auto& record : records) {
    if (!record) continue;
    for (const cache::Rootfs& output : record->outputs) {
      if (!output.layers.empty()) all.push_back(&output);
    }
  }
  std::ranges::stable_sort(all, std::ranges::greater(), [](const auto* rootfs) { return rootfs->layers.size(); });
  std::unordered_set<DiffId> seen;
  std::vector<cache::Rootfs> topmost;
  for (const cache::Rootfs* rootfs : all) {
    if (seen.contains(rootfs->layers.back())) continue;
    seen.insert(rootfs->layers.begin(), rootfs->layers.end());
    topmost.push_back(*rootfs);
  }
  return topmost;
}

}  // namespace varve::engine
