#include "tier/shrink.h"

#include <algorithm>
#include <map>
#include <set>

#include "cache/retention.h"

namespace varve::tier {

uint64_t BytesOf(const std::vector<Group>& groups) {
  std::map<Digest, uint64_t> sizes;
  for (const Group& group : groups) {
    auto add = [&](const StoredLayer& layer) {
      for (const oci::Descriptor& blob : layer.Blobs()) sizes[blob.digest] = blob.size;
    };
    for (const StoredLayer& layer : group.layers) add(layer);
    for (const StoredMount& mount : group.mounts) add(mount.tar);
    for (const TreePack& pack : group.trees) sizes[pack.blob.digest] = pack.blob.size;
  }
  uint64_t total = 0;
  for (const auto& [digest, size] : sizes) total += size;
  return total;
}

uint64_t BytesOfMounts(const std::vector<Group>& groups) {
  Group mounts;
  for (const Group& group : groups) mounts.mounts.insert(mounts.mounts.end(), group.mounts.begin(), group.mounts.end());
  return BytesOf({mounts});
}

Group MergeGroups(const std::vector<Group>& groups) {
  Group merged;
  for (const Group& group : groups) {
    for (const auto& [statement, signatures] : group.signatures) {
      auto& all = merged.signatures[statement];
      for (const Signature& signature : signatures) {
        if (std::ranges::find(all, signature) == all.end()) all.push_back(signature);
      }
    }
  }
  auto signers = [&](const auto& item) {
    return merged.signatures.empty() ? "" : SignersOf(merged.signatures, StatementOf(item));
  };
  std::map<std::pair<StepKey, std::string>, const cache::StepRecord*> records;
  std::map<std::pair<DiffId, std::string>, const StoredLayer*> layers;
  std::map<std::pair<std::string, std::string>, const StoredMount*> mounts;
  std::map<std::pair<Digest, std::string>, const DisownedKey*> disowned;
  std::set<Digest> weak_keys;
  std::map<Digest, TreePack> trees;
  for (const Group& group : groups) {
    for (const cache::StepRecord& record : group.records) {
      const cache::StepRecord*& known = records[{record.key, signers(record)}];
      if (known == nullptr || record.created >= known->created) known = &record;
      if (record.trace) weak_keys.insert(record.trace->weak_key);
    }
    for (const StoredLayer& layer : group.layers) layers[{layer.layer, signers(layer)}] = &layer;
    for (const StoredMount& mount : group.mounts) {
      const StoredMount*& known = mounts[{mount.key, signers(mount)}];
      if (known == nullptr || mount.created >= known->created) known = &mount;
    }
    for (const DisownedKey& key : group.disowned) disowned[{key.weak_key, signers(key)}] = &key;
    for (const TreePack& pack : group.trees) trees.insert_or_assign(pack.blob.digest, pack);
  }
  for (const auto& [key, record] : records) merged.records.push_back(*record);
  for (const auto& [key, layer] : layers) merged.layers.push_back(*layer);
  for (const auto& [digest, pack] : trees) merged.trees.push_back(pack);
  for (const auto& [key, mount] : mounts) merged.mounts.push_back(*mount);
  for (const auto& [key, why] : disowned) {
    if (weak_keys.contains(why->weak_key)) merged.disowned.push_back(*why);
  }
  return merged;
}

void DropRecords(Group& group, const std::function<bool(const cache::StepRecord&)>& drop) {
  std::set<DiffId> layers;
  std::set<Digest> roots;
  std::erase_if(group.records, drop);
  for (const cache::StepRecord& record : group.records) {
    for (const cache::Rootfs& output : record.outputs) {
      layers.insert(output.layers.begin(), output.layers.end());
      roots.insert(output.tree_root);
    }
  }
  std::erase_if(group.layers, [&](const StoredLayer& layer) { return !layers.contains(layer.layer); });
  std::erase_if(group.trees, [&](const TreePack& pack) {
    return std::ranges::none_of(pack.roots, [&](const Digest& root) { return roots.contains(root); });
  });
}

void DropBlobs(Group& group, const std::set<Digest>& blobs) {
  auto needs = [&](const StoredLayer& layer) {
    auto all = layer.Blobs();
    return std::ranges::any_of(all, [&](const oci::Descriptor& blob) { return blobs.contains(blob.digest); });
  };
  std::erase_if(group.layers, needs);
  std::erase_if(group.mounts, [&](const StoredMount& mount) { return needs(mount.tar); });
  std::erase_if(group.trees, [&](const TreePack& pack) { return blobs.contains(pack.blob.digest); });
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

// What each layer takes, with all blobs that it is to be had as. Packs that several layers and mounts need
// count for each with their share.
std::map<DiffId, uint64_t> BytesOfLayers(const Group& group) {
  std::map<Digest, uint64_t> users;
  auto count = [&](const StoredLayer& layer) {
    for (const oci::Descriptor& pack : layer.packs) ++users[pack.digest];
  };
  for (const StoredLayer& layer : group.layers) count(layer);
  for (const StoredMount& mount : group.mounts) count(mount.tar);
  std::map<DiffId, uint64_t> bytes;
  for (const StoredLayer& layer : group.layers) {
    uint64_t& sum = bytes[layer.layer];
    sum += layer.blob.size;
    for (const oci::Descriptor& pack : layer.packs) sum += pack.size / users[pack.digest];
  }
  return bytes;
}

// False: nothing was left that could be dropped.
bool DropLayers(Group& group, uint64_t max_size, Timestamp now, const std::set<StepKey>& kept) {
  cache::RetentionInput input{.now = now};
  // Blobs of the same layer, packed in different ways or signed by different people, go together.
  std::map<DiffId, uint32_t> number;
  std::vector<DiffId> numbered;
  for (const auto& [layer, bytes] : BytesOfLayers(group)) {
    number[layer] = static_cast<uint32_t>(numbered.size());
    numbered.push_back(layer);
    input.layers.push_back({.bytes = bytes, .created = now, .last_used = {}, .uses = 1});
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
  for (uint32_t layer : ChooseDropped(input, total, max_size)) dropped.insert(numbered[layer]);
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
  return !dropped.empty();
}

// The oldest first, until the others, or all that there is with them, take at most `max_size`.
void DropMounts(Group& group, uint64_t max_size, uint64_t (*bytes_of)(const std::vector<Group>&)) {
  std::ranges::sort(group.mounts, {}, &StoredMount::created);
  while (!group.mounts.empty() && bytes_of({group}) > max_size) {
    group.mounts.erase(group.mounts.begin());
  }
  std::ranges::sort(group.mounts, {}, &StoredMount::key);
}

}  // namespace

void Shrink(Group& group, uint64_t max_size, Timestamp now, const std::set<StepKey>& kept) {
  DropMounts(group, max_size / 2, &BytesOfMounts);
  // A pack goes with the last layer that needs it, so one round may free less than it hoped for.
  while (BytesOf({group}) > max_size && DropLayers(group, max_size, now, kept)) {
  }
  DropMounts(group, max_size, &BytesOf);
}

std::set<DiffId> WorthSending(const std::vector<Group>& there, const Group& added, const std::set<DiffId>& result,
                              const std::set<StepKey>& kept, uint64_t max_size, Timestamp now) {
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
