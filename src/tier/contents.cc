#include "tier/contents.h"

#include <algorithm>

#include "base/metric.h"
#include "base/thread_pool.h"

namespace varve::tier {

namespace {

constexpr size_t kParallel = 8;

bool IsDamage(const Error& error) { return error.code == Code::kNotFound || error.code == Code::kCorrupt; }

Result<Group> LoadGroup(Wire& wire, const GroupEntry& entry, std::stop_token stop) {
  if (entry.records.media_type != kRecordsMediaType) {
    return Corrupt("records of an unknown kind: {}", entry.records.media_type);
  }
  TRY_ASSIGN(std::string text, wire.GetSmall(entry.records, kMaxRecordsBlob, stop));
  return DecodeGroup(text);
}

void Index(Contents& contents, const VerifyKeys* trusted) {
  auto signed_by = [&](const Group& group, const auto& item) {
    return trusted == nullptr || trusted->Signed(group.signatures, StatementOf(item));
  };
  for (const Group& group : contents.groups) {
    for (const cache::StepRecord& record : group.records) {
      if (!signed_by(group, record)) {
        contents.refused[record.key] = trusted->WhyNot(group.signatures, StatementOf(record));
        continue;
      }
      const cache::StepRecord*& known = contents.records[record.key];
      if (known == nullptr || record.created > known->created) known = &record;
    }
    for (const StoredLayer& layer : group.layers) {
      if (signed_by(group, layer)) contents.layers.insert_or_assign(layer.layer, &layer);
    }
    for (const TreePack& pack : group.trees) {
      for (const Digest& root : pack.roots) contents.trees[root] = &pack;
    }
    for (const StoredMount& mount : group.mounts) {
      if (!signed_by(group, mount)) continue;
      const StoredMount*& known = contents.mounts[mount.key];
      if (known == nullptr || mount.created >= known->created) known = &mount;
    }
    for (const DisownedKey& key : group.disowned) {
      if (signed_by(group, key)) contents.disowned.try_emplace(key.weak_key, &key);
    }
  }
  for (const auto& [key, record] : contents.records) contents.refused.erase(key);
}

}  // namespace

bool Contents::Takes(const StoredLayer& layer) const {
  auto it = layers.find(layer.layer);
  return it != layers.end() && it->second == &layer;
}

const StoredLayer* Contents::Chunked(const Digest& tar) const {
  auto layer = layers.find(DiffId(tar));
  if (layer != layers.end() && layer->second->chunked()) return layer->second;
  for (const auto& [key, mount] : mounts) {
    if (mount->tar.layer.value == tar) return &mount->tar;
  }
  return nullptr;
}

std::vector<const StoredLayer*> Contents::Tars() const {
  std::vector<const StoredLayer*> tars;
  for (const auto& [key, mount] : mounts) tars.push_back(&mount->tar);
  for (auto group = groups.rbegin(); group != groups.rend(); ++group) {
    for (const StoredLayer& layer : group->layers) {
      if (Takes(layer)) tars.push_back(&layer);
    }
  }
  return tars;
}

std::set<std::string> Contents::SlotsOf(const DiffId& layer) const {
  std::set<std::string> slots;
  for (const auto& [key, record] : records) {
    for (const cache::Rootfs& output : record->outputs) {
      if (!output.layers.empty() && output.layers.back() == layer) slots.insert(record->slot);
    }
  }
  return slots;
}

Result<std::shared_ptr<const Contents>> LoadContents(BlobStorage& storage, Wire& wire, const Contents* known,
                                                     const VerifyKeys* trusted, const Note& note,
                                                     std::stop_token stop) {
  METRIC("tier.load");
  ++wire.requests;
  std::vector<GroupEntry> listed;
  if (auto list = storage.List(stop)) {
    listed = std::move(*list);
  } else if (list.error().code == Code::kCorrupt) {
    // What it led to is not found again. An error would keep the place useless: who reads one writes there as well.
    note(list.error().message + ": the cache there begins anew");
  } else {
    return Error(std::move(list).error());
  }
  auto contents = std::make_shared<Contents>();
  std::vector<std::optional<Group>> groups(listed.size());
  TRY(ParallelFor(listed.size(), kParallel, [&](size_t i) -> Status {
    if (known != nullptr) {
      auto it = std::ranges::find(known->entries, listed[i]);
      if (it != known->entries.end()) {
        groups[i] = known->groups[static_cast<size_t>(it - known->entries.begin())];
        return Ok();
      }
    }
    auto group = LoadGroup(wire, listed[i], stop);
    // Asked once more before it counts as damaged, which the next export makes final.
    if (!group && IsDamage(group.error())) group = LoadGroup(wire, listed[i], stop);
    if (group) {
      groups[i] = std::move(*group);
      return Ok();
    }
    Error error = std::move(group).error();
    if (!IsDamage(error)) return error;
    note(error.message);
    return Ok();
  }));
  for (size_t i = 0; i < listed.size(); ++i) {
    if (!groups[i]) {
      contents->damaged.push_back(listed[i].manifest.digest);
      continue;
    }
    contents->entries.push_back(std::move(listed[i]));
    contents->groups.push_back(std::move(*groups[i]));
  }
  Index(*contents, trusted);
  return std::shared_ptr<const Contents>(std::move(contents));
}

}  // namespace varve::tier
