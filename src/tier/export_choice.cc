#include "tier/export_choice.h"

#include <algorithm>

#include "cache/retention.h"

namespace varve::tier {

std::vector<LayerValue> ByValue(const std::vector<Offer::Record>& records, const std::set<DiffId>& layers,
                                Timestamp now) {
  std::map<DiffId, uint32_t> number;
  std::vector<LayerValue> values;
  cache::RetentionInput input{.now = now};
  for (const Offer::Record& offered : records) {
    for (const cache::Rootfs& output : offered.record.outputs) {
      std::optional<DiffId> below;
      cache::RetentionResult result{.seconds = static_cast<double>(offered.record.wall.count()) / 1e9};
      for (const DiffId& layer : output.layers) {
        if (!layers.contains(layer)) continue;
        auto [it, is_new] = number.try_emplace(layer, static_cast<uint32_t>(values.size()));
        if (is_new) values.push_back({.layer = layer, .below = below});
        below = layer;
        result.layers.push_back(it->second);
      }
      // What a step made is on top; a step that added nothing, or whose layer is not offered, has none.
      if (result.layers.empty() || output.layers.back() != values[result.layers.back()].layer) continue;
      LayerValue& top = values[result.layers.back()];
      top.bytes = std::max(top.bytes, offered.record.new_bytes);
      top.seconds = std::max(top.seconds, result.seconds);
      result.slot = static_cast<uint32_t>(input.results.size());
      input.results.push_back(std::move(result));
    }
  }
  for (const LayerValue& value : values) {
    // All were made now and used once: seconds and bytes decide.
    input.layers.push_back({.bytes = std::max<uint64_t>(value.bytes, 1), .created = now, .last_used = now, .uses = 1});
  }
  std::vector<LayerValue> ordered;
  for (const cache::Eviction& block : cache::EvictionOrder(input)) {
    for (uint32_t layer : block.layers) ordered.push_back(values[layer]);
  }
  std::ranges::reverse(ordered);
  return ordered;
}

std::set<DiffId> WorthMoving(const std::vector<LayerValue>& layers, const std::set<DiffId>& there, const Rates& rates) {
  // What a layer gains, with what gains on top of it; those on top come later in the order.
  std::map<DiffId, double> gain;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    double bytes = static_cast<double>(layer->bytes);
    double cost = there.contains(layer->layer) ? 0 : bytes / rates.up + bytes / rates.down + 2 * rates.latency;
    double& own = gain[layer->layer];
    own += layer->seconds - cost;
    if (own > 0 && layer->below) gain[*layer->below] += own;
  }
  std::set<DiffId> worth;
  for (const LayerValue& layer : layers) {
    bool based = !layer.below || worth.contains(*layer.below) || there.contains(*layer.below);
    if (based && gain[layer.layer] > 0) worth.insert(layer.layer);
  }
  return worth;
}

}  // namespace varve::tier
