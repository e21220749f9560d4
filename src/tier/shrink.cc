#include "tier/shrink.h"

#include <algorithm>
#include <map>
#include <set>

#include "cache/retention.h"

namespace varve::tier {

uint64_t BytesOf(const std::vector<Group>& groups) {
  std::map<Digest, uint64_t> sizes;
  for (const Group& group : groups) {
    for (const StoredLayer& layer : group.layers) sizes[layer.blob.digest] = layer.blob.size;
    for (const TreePack& pack : group.trees) sizes[pack.blob.digest] = pack.blob.size;
  }
  uint64_t total = 0;
  for (const auto& [digest, size] : sizes) total += size;
  return total;
}

Group MergeGroups(const std::vector<Group>& groups) {
  std::map<StepKey, const cache::StepRecord*> records;
  std::map<DiffId, oci::Descriptor> layers;
  std::map<Digest, TreePack> trees;
  for (const Group& group : groups) {
    for (const cache::StepRecord& record : group.records) {
      const cache::StepRecord*& known = records[record.key];
      if (known == nullptr || record.created >= known->created) known = &record;
    }
    for (const StoredLayer& layer : group.layers) layers.insert_or_assign(layer.layer, layer.blob);
    for (const TreePack& pack : group.trees) trees.insert_or_assign(pack.blob.digest, pack);
  }
  Group merged;
  for (const auto& [key, record] : records) merged.records.push_back(*record);
  for (const auto& [layer, blob] : layers) merged.layers.push_back({layer, blob});
  for (const auto& [digest, pack] : trees) merged.trees.push_back(pack);
  return merged;
}

namespace {

// The layers to drop, worth least first, until `total` bytes are at most `max_size`.
std::set<uint32_t> ChooseDropped(const cache::RetentionInput& input, uint64_t total, uint64_t max_size) {
  std::set<uint32_t> dropped;
  for (const cache::Eviction& block : cache::EvictionOrder(input)) {
    if (total <= max_size) break;
    for (uint32_t layer : block.layers) {
      dropped.insert(layer);
      total -= std::min(total, input.layers[layer].bytes);
    }
  }
  return dropped;
}

}  // namespace

void Shrink(Group& group, uint64_t max_size, Timestamp now, const std::set<StepKey>& kept) {
  cache::RetentionInput input{.now = now};
  std::map<DiffId, uint32_t> number;
  for (const StoredLayer& layer : group.layers) {
    number[layer.layer] = static_cast<uint32_t>(input.layers.size());
    input.layers.push_back({.bytes = layer.blob.size, .created = now, .last_used = {}, .uses = 1});
  }
  std::map<std::string, uint32_t> slots;
  for (const cache::StepRecord& record : group.records) {
    for (const cache::Rootfs& output : record.outputs) {
      cache::RetentionResult result{.seconds = static_cast<double>(record.wall.count()) / 1e9};
      for (const DiffId& layer : output.layers) {
        auto it = number.find(layer);
        if (it == number.end()) continue;
        result.layers.push_back(it->second);
        // A tier sees no uses: a layer was last useful when a record was made that needs it.
        cache::RetentionLayer& facts = input.layers[it->second];
        facts.created = std::min(facts.created, record.created);
        facts.last_used = std::max(facts.last_used, record.created);
        facts.held = facts.held || kept.contains(record.key);
      }
      if (result.layers.empty()) continue;
      result.slot = slots.try_emplace(record.slot, static_cast<uint32_t>(slots.size())).first->second;
      input.results.push_back(std::move(result));
    }
  }
  uint64_t total = BytesOf({group});
  uint64_t held = 0;
  for (const cache::RetentionLayer& layer : input.layers) held += layer.held ? layer.bytes : 0;
  if (held > max_size) {
    for (cache::RetentionLayer& layer : input.layers) layer.held = false;
  }
  std::set<DiffId> dropped;
  for (uint32_t layer : ChooseDropped(input, total, max_size)) dropped.insert(group.layers[layer].layer);
  std::set<Digest> roots;
  std::erase_if(group.records, [&](const cache::StepRecord& record) {
    for (const cache::Rootfs& output : record.outputs) {
      for (const DiffId& layer : output.layers) {
        if (dropped.contains(layer)) return true;
      }
      roots.insert(output.tree_root);
    }
    return false;
  });
  std::erase_if(group.layers, [&](const StoredLayer& layer) { return dropped.contains(layer.layer); });
  std::erase_if(group.trees, [&](const TreePack& pack) {
    return std::ranges::none_of(pack.roots, [&](const Digest& root) { return roots.contains(root); });
  });
}

std::set<DiffId> WorthSending(const std::vector<Group>& there, const Group& added,
                              const std::set<DiffId>& result, const std::set<StepKey>& kept,
                              uint64_t max_size, Timestamp now) {
  auto fitting = [&](const Group& more) {
    std::vector<Group> all = there;
    all.push_back(more);
    Group one = MergeGroups(all);
    if (BytesOf({one}) > max_size) Shrink(one, max_size, now, kept);
    std::set<DiffId> stays, layers;
    for (const StoredLayer& layer : one.layers) stays.insert(layer.layer);
    for (const StoredLayer& layer : more.layers) {
      if (stays.contains(layer.layer)) layers.insert(layer.layer);
    }
    return layers;
  };
  std::set<DiffId> worth = fitting(added);
  bool whole = std::ranges::all_of(added.layers, [&](const StoredLayer& layer) {
    return !result.contains(layer.layer) || worth.contains(layer.layer);
  });
  if (whole) return worth;
  Group least = added;
  std::erase_if(least.layers, [&](const StoredLayer& layer) { return !result.contains(layer.layer); });
  return fitting(least);
}

}  // namespace varve::tier
