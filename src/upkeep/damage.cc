#include "upkeep/damage.h"

#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/metric.h"
#include "base/thread_pool.h"
#include "cache/lease.h"

namespace varve::upkeep {

namespace {

constexpr size_t kReaders = 4;

bool NamesOneOf(const cache::StepRecord& record, const std::set<DiffId>& layers) {
  return std::ranges::any_of(record.outputs, [&](const cache::Rootfs& output) {
    return std::ranges::any_of(output.layers, [&](const DiffId& layer) { return layers.contains(layer); });
  });
}

Status NoteRecords(cache::StoreContents& contents, const std::set<DiffId>& layers, const std::string& rule) {
  std::vector<StepKey> keys;
  TRY_ASSIGN(auto uses, contents.Records());
  for (const cache::RecordUse& use : uses) {
    TRY_ASSIGN(auto record, contents.Read(use.key));
    if (record && NamesOneOf(*record, layers)) keys.push_back(use.key);
  }
  return contents.NoteEvicted(keys, rule);
}

}  // namespace

Result<std::set<DiffId>> RemoveLayers(const Stores& stores, const std::set<DiffId>& layers, const std::string& rule,
                                      const std::string& except, std::stop_token stop) {
  std::set<DiffId> used, removed;
  if (layers.empty()) return used;
  cache::StoreContents& contents = stores.local.contents();
  // Not under a step that runs on it: it fails or gives a wrong result, but it does not crash.
  TRY_ASSIGN(auto lock, cache::CollectionLock::Take(stores.root, std::move(stop)));
  TRY_ASSIGN(cache::LiveLeases leases, lock.Read(except));
  for (const DiffId& layer : layers) {
    if (leases.Holds(cache::LeaseKind::kLayer, layer.value)) {
      used.insert(layer);
      continue;
    }
    TRY(contents.ForgetLayer(layer));
    TRY(stores.layers.Remove(layer));
    removed.insert(layer);
  }
  TRY(NoteRecords(contents, removed, rule));
  return used;
}

Result<std::vector<std::string>> DropDamaged(const Stores& stores, cache::JobLease& mine, std::stop_token stop) {
  METRIC("upkeep.drop_damaged");
  std::vector<Digest> held = mine.Held(cache::LeaseKind::kLayer);
  std::vector<char> damaged(held.size(), 0);
  TRY(ParallelFor(held.size(), kReaders, [&](size_t i) -> Status {
    if (stop.stop_requested()) return Cancelled("the build was cancelled");
    auto sound = stores.layers.Verify(DiffId(held[i]), false);
    if (!sound && sound.error().code == Code::kNotFound) return Ok();
    damaged[i] = !sound || !*sound;
    return Ok();
  }));
  std::set<DiffId> bad;
  for (size_t i = 0; i < held.size(); ++i) {
    if (damaged[i] != 0) bad.insert(DiffId(held[i]));
  }
  TRY_ASSIGN(auto used, RemoveLayers(stores, bad, "its layer was damaged", mine.id(), stop));
  std::vector<std::string> dropped;
  for (const DiffId& layer : bad) {
    if (!used.contains(layer)) dropped.push_back("layer " + layer.ToString());
  }
  Counter("upkeep.damage_dropped").Add(static_cast<int64_t>(dropped.size()));
  return dropped;
}

}  // namespace varve::upkeep
