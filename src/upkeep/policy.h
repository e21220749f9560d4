// How much a root may take, in BuildKit's terms (docs/buildkitd.toml.md, "gcpolicy").
//
// Policies are applied in order. Each says which rows it looks at (filters, keepDuration, all) and
// how small the root must become: removal goes on until the sum is below maxUsedSpace, or below
// what leaves minFreeSpace free on the disk, but never below reservedSpace. With none of the three
// everything that it looks at goes.
//
// The file is JSON; the first of <root>/gc.json, $XDG_CONFIG_HOME/varve/gc.json (~/.config) and
// /etc/varve/gc.json that exists counts:
//
//   {"gc": true, "reservedSpace": "10GB", "maxUsedSpace": "80%", "minFreeSpace": "20%",
//    "gcpolicy": [{"all": false, "filters": ["type==exec.cachemount"], "keepDuration": "48h",
//                  "maxUsedSpace": "512MB"}]}
//
// Sizes are bytes, "512MB" (binary multiples) or a share of the disk, "10%". Durations are Go's or
// seconds. An unknown member is an error. Without "gcpolicy", the three sizes make the default
// policies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "upkeep/disk_use.h"
#include "upkeep/filter.h"

namespace varve::upkeep {

struct SpaceLimits {
  uint64_t reserved = 0, max_used = 0, min_free = 0;  // 0: none
  bool any() const { return reserved != 0 || max_used != 0 || min_free != 0; }
};

struct Policy {
  std::string name;  // for logs and explanations: "policy 2 (maxUsedSpace 100 GB)"
  bool all = false;  // internal rows too: step records and trees
  Filter filter;
  std::vector<std::string> filter_texts = {};  // that it was read from
  Nanos keep_duration{0};
  SpaceLimits limits;
};

struct PolicyFile {
  bool enabled = true;
  std::vector<Policy> policies;
  std::string path;  // empty: the defaults
};

// "1GB", "1073741824", "10%" of `disk`.
Result<uint64_t> ParseSize(std::string_view text, const DiskSpace& disk);

Result<PolicyFile> LoadPolicies(const std::string& root, const DiskSpace& disk);
Result<PolicyFile> ParsePolicies(std::string_view json, const DiskSpace& disk);

// The size that the root may keep: BuildKit's calculateKeepBytes. Nothing: no limit was given.
std::optional<uint64_t> BytesToKeep(const SpaceLimits& limits, uint64_t used, uint64_t free);

}  // namespace varve::upkeep
