#include "job/fresh_mounts.h"

#include <map>

namespace varve::job {

Result<std::vector<std::string>> EmptyMountsOfUncached(const graph::Graph& graph, const std::string& name_space,
                                                       cache::CacheMounts& mounts) {
  std::map<std::string, std::string> ids;  // by key
  for (const graph::Step& step : graph.steps) {
    const auto* exec = std::get_if<graph::Exec>(&step.op);
    if (exec == nullptr || !step.no_cache) continue;
    for (const graph::Mount& mount : exec->mounts) {
      if (mount.type == graph::MountType::kCache) ids[cache::MountKey(name_space, mount.cache_id, "")] = mount.cache_id;
    }
  }
  std::vector<std::string> busy;
  if (ids.empty()) return busy;
  TRY_ASSIGN(auto entries, mounts.List());
  for (const auto& entry : entries) {
    // Whatever it was initialised from: MountKey puts that behind a colon.
    auto id = ids.find(entry.key);
    if (id == ids.end()) id = ids.find(entry.key.substr(0, entry.key.rfind(':')));
    if (id == ids.end()) continue;
    TRY_ASSIGN(bool removed, mounts.Remove(entry));
    if (!removed) busy.push_back(id->second);
  }
  return busy;
}

}  // namespace varve::job
