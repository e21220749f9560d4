// What people and monitors hand to a daemon that runs for months: policies of collection, filters of du and prune,
// files of metrics, trace parents. And builds of the history, which another version may have written.
//
// The first byte chooses; the rest is the input.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "history/build.h"
#include "report/otlp.h"
#include "report/prometheus.h"
#include "upkeep/inventory.h"
#include "upkeep/policy.h"

namespace {

using namespace varve;  // NOLINT

constexpr upkeep::DiskSpace kDisk{.total = 1ull << 40, .free = 1ull << 39};

void FuzzPolicies(std::string_view text) {
  auto file = upkeep::ParsePolicies(text, kDisk);
  if (!file) return;
  for (const upkeep::Policy& policy : file->policies) (void)upkeep::BytesToKeep(policy.limits, 1 << 30, kDisk.free);
}

void FuzzFilter(std::string_view text) {
  (void)upkeep::ParseSize(text, kDisk).has_value();
  upkeep::UsageRow row{.id = "sha256:0123456789abcdef", .description = "[build 2/5] RUN make all"};
  if (auto filter = upkeep::Filter::Parse({std::string(text)})) (void)filter->Matches(row);
  if (auto filter = upkeep::Filter::ParseAny({std::string(text), "inuse"})) (void)filter->Matches(row);
}

void FuzzMetrics(std::string_view text) {
  (void)report::ParseTraceParent(text).has_value();
  auto families = report::ParseMetrics(text);
  if (!families) return;
  std::string written = report::Render(*families);
  auto again = report::ParseMetrics(written);
  CHECK(again && report::Render(*again) == written);
  (void)report::Render(report::Added(*families, *again)).size();
}

void FuzzBuild(std::string_view text) {
  auto json = Json::Parse(text);
  if (!json) return;
  auto build = history::BuildFromJson(*json);
  if (!build) return;
  std::string written = ToJson(*build).Dump();
  auto again = history::BuildFromJson(Json::Parse(written).value());
  CHECK(again && ToJson(*again).Dump() == written);
  (void)history::RatiosOf(*build).ByTime();
  (void)report::Render(report::MetricsOf(*build, {})).size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'p') FuzzPolicies(input);
  if (data[0] == 'f') FuzzFilter(input);
  if (data[0] == 'm') FuzzMetrics(input);
  if (data[0] == 'b') FuzzBuild(input);
  return 0;
}
