#include "daemon/usage.h"

#include "daemon/status_feed.h"
#include "job/upkeep_stores.h"

namespace varve::daemon {

namespace {

void Fill(const upkeep::UsageRow& row, control::UsageRecord& record) {
  record.set_id(row.id);
  record.set_mutable_(row.is_mutable);
  record.set_in_use(row.in_use);
  record.set_size(static_cast<int64_t>(row.bytes));
  if (row.created) SetTime(*row.created, record.mutable_created_at());
  if (row.last_used) SetTime(*row.last_used, record.mutable_last_used_at());
  record.set_usage_count(static_cast<int64_t>(row.uses));
  record.set_description(row.description);
  record.set_record_type(std::string(upkeep::NameOf(row.type)));
  record.set_shared(row.shared);
  for (const std::string& parent : row.parents) record.add_parents(parent);
}

template <class Repeated>
Result<upkeep::Filter> FilterOf(const Repeated& texts) {
  std::vector<std::string> given(texts.begin(), texts.end());
  std::erase(given, "");
  return upkeep::Filter::ParseAny(given);
}

}  // namespace

Status ListUsage(const std::string& root, const control::DiskUsageRequest& request,
                 control::DiskUsageResponse& response) {
  TRY_ASSIGN(auto filter, FilterOf(request.filter()));
  TRY_ASSIGN(auto stores, job::UpkeepStores::Open({.root = root}));
  TRY_ASSIGN(auto inventory, upkeep::TakeInventory(stores.view(), {}));
  const int64_t now = SystemClock().Now().nanos;
  for (const upkeep::UsageRow& row : inventory.rows) {
    // A client asks what a prune could give back. Indexes, records and directories are what the rest hangs on.
    if (row.kind == upkeep::UsageRow::Kind::kFiles || row.kind == upkeep::UsageRow::Kind::kRecords) continue;
    if (!filter.Matches(row)) continue;
    if (request.age_limit() > 0 && row.last_used && now - row.last_used->nanos < request.age_limit()) continue;
    Fill(row, *response.add_record());
  }
  return Ok();
}

Status Prune(const std::string& root, const control::PruneRequest& request,
             const std::function<void(const control::UsageRecord&)>& removed, std::stop_token stop) {
  upkeep::Policy policy{.name = "a client's prune", .all = request.all()};
  TRY_ASSIGN(policy.filter, FilterOf(request.filter()));
  for (int64_t number :
       {request.keep_duration(), request.reserved_space(), request.max_used_space(), request.min_free_space()}) {
    if (number < 0) return Invalid("prune: sizes and durations are not negative");
  }
  policy.keep_duration = Nanos(request.keep_duration());
  policy.limits = {.reserved = static_cast<uint64_t>(request.reserved_space()),
                   .max_used = static_cast<uint64_t>(request.max_used_space()),
                   .min_free = static_cast<uint64_t>(request.min_free_space())};
  TRY_ASSIGN(auto stores, job::UpkeepStores::Open({.root = root}));
  TRY_ASSIGN(auto pruned, upkeep::Prune(stores.view(), policy, std::move(stop)));
  for (const upkeep::UsageRow& row : pruned.rows) {
    control::UsageRecord record;
    Fill(row, record);
    removed(record);
  }
  return Ok();
}

}  // namespace varve::daemon
