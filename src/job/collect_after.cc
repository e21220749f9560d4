#include "job/collect_after.h"

#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/strings.h"
#include "job/console.h"
#include "upkeep/leftovers.h"
#include "upkeep/prune.h"

namespace varve::job {

namespace {

Result<upkeep::Pruned> Collect(Workspace& workspace, std::stop_token stop) {
  TRY_ASSIGN(upkeep::DiskSpace space, upkeep::SpaceOf(workspace.root));
  TRY_ASSIGN(upkeep::PolicyFile file, upkeep::LoadPolicies(workspace.root, space));
  upkeep::Stores stores{workspace.root, *workspace.local.store, *workspace.blobs, *workspace.layers, SystemClock()};
  TRY_ASSIGN(bool needed, upkeep::MayNeedCollection(stores, file));
  if (!needed) return upkeep::Pruned{};
  return upkeep::CollectByPolicy(stores, file, std::move(stop));
}

}  // namespace

void EndBuild(Workspace& workspace) {
  workspace.lease.reset();
  Status removed = upkeep::RemoveLeftovers(workspace.root, {.wait = false, .mine = workspace.scratch.PathIfMade()});
  if (!removed) LOG_WARN("{}", removed.error().ToString());
}

Collected CollectAfterBuild(Workspace& workspace, bool quiet, std::stop_token stop) {
  Collected by_rule;
  auto collected = Collect(workspace, std::move(stop));
  if (!collected) {
    ToStderr("WARN: collection: " + collected.error().ToString() + "\n");
    return by_rule;
  }
  for (size_t i = 0; i < collected->rows.size(); ++i) {
    auto& [things, bytes] = by_rule[collected->rules[i]];
    ++things;
    bytes += collected->rows[i].bytes;
  }
  if (!collected->rows.empty() && !quiet) {
    std::set<std::string> rules(collected->rules.begin(), collected->rules.end());
    ToStderr(fmt::format("collected {} in {} things by {}\n", FormatBytes(collected->bytes), collected->rows.size(),
                         Join(std::vector(rules.begin(), rules.end()), ", ")));
  }
  return by_rule;
}

}  // namespace varve::job
