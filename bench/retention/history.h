// Histories of builds, to try retention policies on: what each build needed, not what it did.
//
// As text, one JSON object a line, in order of time:
//
//   {"time": 1700000000, "steps": [{"key": "…", "slot": "…", "parent": -1, "inputs": [1, 2],
//                                   "seconds": 12.5, "bytes": 1000000}, …]}
//
// time in seconds since the epoch; parent: index of the step whose file system it writes on (-1:
// none, or an image to pull); inputs: other steps whose files it reads. "wanted": steps whose
// result the build was for; when absent, the last.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace varve::bench {

struct HistoryStep {
  std::string key, slot;
  int parent = -1;
  std::vector<int> inputs;
  double seconds = 0;
  uint64_t bytes = 0;
};

struct HistoryBuild {
  int64_t time = 0;
  std::vector<HistoryStep> steps;
  std::vector<int> wanted;
};

using History = std::vector<HistoryBuild>;

Result<History> ReadHistory(const std::string& path);

// A team's build machine. Projects differ in size and pace; most pushes change only code, some the
// dependencies, base images move now and then; work happens on branches that are merged, on
// weekdays; CI builds a commit again sometimes, and some projects are only built at night.
struct Team {
  int projects = 12;
  int days = 90;
  uint64_t seed = 1;
};
History MakeHistory(const Team& team);

}  // namespace varve::bench
