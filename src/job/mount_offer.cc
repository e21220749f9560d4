#include "job/mount_offer.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <set>

#include "base/log.h"
#include "cache/cache_mounts.h"
#include "upkeep/mount_tar.h"

namespace varve::job {

namespace {

using Entry = cache::CacheMounts::Entry;

// For another build that holds the mount alone. Exports do not wait until it is done.
constexpr Nanos kMostWait{3'000'000'000};

// By id: whether a step that uses it ran.
std::map<std::string, bool> MountsOf(const BuiltSteps& built, const tier::MountChoice& choice) {
  std::map<std::string, bool> mounts;
  for (size_t i = 0; i < built.graph.steps.size(); ++i) {
    const auto* run = std::get_if<graph::Exec>(&built.graph.steps[i].op);
    if (run == nullptr || built.outcome.steps[i].key.empty()) continue;
    bool ran = built.outcome.steps[i].status == engine::StepStatus::kRan;
    for (const graph::Mount& mount : run->mounts) {
      if (mount.type != graph::MountType::kCache || !choice.Takes(mount.cache_id)) continue;
      mounts[mount.cache_id] |= ran;
    }
  }
  return mounts;
}

Status WriteMount(const Entry& entry, const std::string& root, std::atomic<uint64_t>& left, Writer& out,
                  std::stop_token stop) {
  cache::CacheMounts mounts(root, SystemClock());
  std::optional<cache::CacheMounts::Use> use;
  Status opened = tier::Within(kMostWait, stop, [&](std::stop_token token) -> Status {
    TRY_ASSIGN(use, mounts.Open(entry, token));
    return Ok();
  });
  if (!opened && opened.error().code == Code::kUnavailable) return Resource("another build holds it");
  TRY(std::move(opened));
  TRY_ASSIGN(auto written, upkeep::WriteMountTar(use->path(), left, out, stop));
  left -= std::min<uint64_t>(left, written.bytes);
  if (written.left_out > 0) {
    LOG_INFO("cache mount {}: the {} oldest files are beyond mounts-max-size", entry.id, written.left_out);
  }
  return Ok();
}

}  // namespace

Result<std::vector<tier::Offer::Mount>> OfferMounts(const BuiltSteps& built, const tier::Spec& spec,
                                                    const std::string& root) {
  std::vector<tier::Offer::Mount> offered;
  std::map<std::string, bool> wanted = MountsOf(built, spec.mounts);
  if (wanted.empty()) return offered;
  cache::CacheMounts mounts(root, SystemClock());
  TRY_ASSIGN(auto entries, mounts.List());
  std::ranges::sort(entries, std::greater(), &Entry::last_used);
  auto left = std::make_shared<std::atomic<uint64_t>>(spec.mounts_max_size);
  std::set<std::string> keys;
  for (const Entry& entry : entries) {
    auto it = wanted.find(entry.id);
    if (it == wanted.end() || !keys.insert(entry.key).second) continue;
    // The same id of builds in another namespace is another mount.
    std::string key = cache::MountKey(built.mount_namespace, entry.id, "");
    if (entry.key != key && !entry.key.starts_with(key + ":")) continue;
    offered.push_back({.key = entry.key,
                       .id = entry.id,
                       .created = entry.last_used,
                       .changed = it->second,
                       .write = [entry, root, left](Writer& out, std::stop_token stop) {
                         return WriteMount(entry, root, *left, out, stop);
                       }});
  }
  return offered;
}

exec::RestoreMount RestoreMountsFrom(tier::Chain& chain, Workspace& workspace) {
  return [&chain, &workspace](const std::string& key, const std::string& id, const std::string& directory,
                              const OnProgress& on_progress, std::stop_token stop) -> Result<bool> {
    auto restored = chain.FetchMount(
        key, id,
        [&](Reader& tar) {
          return upkeep::ReadMountTar(tar, directory, workspace.root + "/tmp", *workspace.layers, stop);
        },
        on_progress, stop);
    if (restored || stop.stop_requested()) return restored;
    LOG_WARN("cache mount {} is not restored: {}", id, restored.error().message);
    return false;
  };
}

}  // namespace varve::job
