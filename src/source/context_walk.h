// The parallel walk of a context: directories in, one Merkle root out. Internal to
// source/context.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/result.h"
#include "source/context_mode.h"
#include "source/context_reach.h"
#include "tree/pattern.h"
#include "tree/stat_cache.h"

namespace varve::source {

struct WalkInput {
  int root_fd;
  const std::string& directory;  // for messages
  const ReachNode& reach;
  const std::optional<tree::PatternList>& exclude;
  const std::optional<tree::PatternList>& include;
  const tree::StatCache& cache;
  const ModeRule& modes;
  Clock& clock;
  std::stop_token stop;
};

struct WalkOutput {
  Digest root;
  std::vector<std::pair<Digest, std::string>> objects;
  uint64_t files = 0, bytes = 0, hashed_files = 0, hashed_bytes = 0;

  // For the next stat cache. A block that did not change is a view into the old one.
  struct Visited {
    std::string path;
    std::string block;           // new, or empty:
    std::string_view old_block;  //   unchanged
    bool changed = false;
  };
  std::vector<Visited> visited;      // unsorted, directories without regular files included
  std::vector<std::string> skipped;  // directories that the patterns or selectors kept out
};

Result<WalkOutput> Walk(const WalkInput& input);

}  // namespace varve::source
