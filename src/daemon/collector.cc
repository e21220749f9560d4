#include "daemon/collector.h"

#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cli/upkeep_stores.h"
#include "upkeep/prune.h"

namespace varve::daemon {

namespace {

Result<upkeep::Pruned> Collect(const std::string& root, std::stop_token stop) {
  TRY_ASSIGN(auto opened, cli::UpkeepStores::Open({.root = root}));
  TRY_ASSIGN(upkeep::DiskSpace space, upkeep::SpaceOf(root));
  TRY_ASSIGN(upkeep::PolicyFile file, upkeep::LoadPolicies(root, space));
  TRY_ASSIGN(bool needed, upkeep::MayNeedCollection(opened.view(), file));
  if (!needed) return upkeep::Pruned{};
  return upkeep::CollectByPolicy(opened.view(), file, std::move(stop));
}

}  // namespace

Collector::Collector(std::string root, std::chrono::milliseconds interval)
    : root_(std::move(root)), interval_(interval),
      thread_([this](std::stop_token stop) { Run(std::move(stop)); }) {}

Collector::~Collector() {
  thread_.request_stop();
  thread_.join();
}

void Collector::Run(std::stop_token stop) {
  int64_t seen = 0;
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    wake_.wait_for(lock, stop, interval_, [] { return false; });
    if (stop.stop_requested()) return;
    const int64_t made = Counter("snapshot.layers").value();
    if (made == seen) continue;
    seen = made;
    auto collected = Collect(root_, stop);
    if (!collected) {
      LOG_WARN("collection: {}", collected.error().ToString());
    } else if (!collected->rows.empty()) {
      LOG_INFO("collected {} in {} things", FormatBytes(collected->bytes), collected->rows.size());
    }
  }
}

}  // namespace varve::daemon
