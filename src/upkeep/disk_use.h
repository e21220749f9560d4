// What trees take on the disk, as du(1) counts: allocated blocks, directories included.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "base/result.h"

namespace varve::upkeep {

// Of a file with several names each name counts its part, so that the sum over all trees that share
// it is what it takes. Files that vanish meanwhile are not counted; an absent tree takes nothing.
struct DiskUse {
  uint64_t bytes = 0;
  bool has_parts = false;  // the sum changes when another tree goes
};
Result<DiskUse> MeasureDisk(const std::string& path);
Result<uint64_t> DiskBytes(const std::string& path);  // of MeasureDisk

struct DiskSpace {
  uint64_t total = 0;
  uint64_t free = 0;  // for unprivileged users, as df shows
};
Result<DiskSpace> SpaceOf(const std::string& path);

}  // namespace varve::upkeep
