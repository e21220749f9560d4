#include "daemon/collector.h"

#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "job/build_reports.h"
#include "job/upkeep_stores.h"
#include "upkeep/prune.h"

namespace varve::daemon {

namespace {

Result<upkeep::Pruned> Collect(const std::string& root, const std::string& policies, std::stop_token stop) {
  TRY_ASSIGN(auto opened, job::UpkeepStores::Open({.root = root}));
  TRY_ASSIGN(upkeep::PolicyFile file, ReadPolicies(root, policies));
  TRY_ASSIGN(bool needed, upkeep::MayNeedCollection(opened.view(), file));
  if (!needed) return upkeep::Pruned{};
  return upkeep::CollectByPolicy(opened.view(), file, std::move(stop));
}

}  // namespace

Result<upkeep::PolicyFile> ReadPolicies(const std::string& root, const std::string& text) {
  TRY_ASSIGN(upkeep::DiskSpace space, upkeep::SpaceOf(root));
  if (text.empty()) return upkeep::LoadPolicies(root, space);
  auto file = upkeep::ParsePolicies(text, space);
  if (!file) return std::move(file).error().With("worker.oci");
  return file;
}

Collector::Collector(std::string root, Options options)
    : root_(std::move(root)), options_(options), thread_([this](std::stop_token stop) { Run(std::move(stop)); }) {}

Collector::~Collector() {
  thread_.request_stop();
  thread_.join();
}

void Collector::Run(std::stop_token stop) {
  if (options_.measure) Measure();
  int64_t seen = 0;
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    wake_.wait_for(lock, stop, options_.interval, [] { return false; });
    if (stop.stop_requested()) return;
    const int64_t made = Counter("snapshot.layers").value();
    if (made == seen) continue;
    seen = made;
    CollectOnce(stop);
    if (options_.measure && !stop.stop_requested()) Measure();
  }
}

void Collector::CollectOnce(std::stop_token stop) {
  auto collected = Collect(root_, options_.policies, std::move(stop));
  if (!collected) {
    LOG_WARN("collection: {}", collected.error().ToString());
    return;
  }
  if (collected->rows.empty()) return;
  LOG_INFO("collected {} in {} things", FormatBytes(collected->bytes), collected->rows.size());
  for (size_t i = 0; i < collected->rows.size(); ++i) {
    auto& [count, bytes] = collected_[collected->rules[i]];
    ++count;
    bytes += collected->rows[i].bytes;
  }
}

void Collector::Measure() {
  auto storage = job::MeasureStorage({.root = root_}, collected_);
  if (storage) {
    uint64_t used = 0;
    for (const auto& [kind, bytes] : storage->bytes) used += bytes;
    auto file = ReadPolicies(root_, options_.policies);
    if (file && file->enabled && !file->policies.empty()) {
      storage->limit = upkeep::BytesToKeep(file->policies.back().limits, used, storage->disk_free);
    }
    *storage_.Lock() = std::move(*storage);
  } else {
    LOG_WARN("measuring {}: {}", root_, storage.error().ToString());
  }
}

}  // namespace varve::daemon
