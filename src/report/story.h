// What a report tells: a build, and those before it that it is to be compared with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "history/build.h"
#include "history/store.h"

namespace varve::report {

struct Story {
  history::Build build;
  // The last one before it, of the same project, command and target, that completed.
  std::optional<history::Build> previous;
  // Builds of the same, oldest first, this one last; at most kTrend.
  std::vector<history::Summary> trend;
  std::string failure_log;  // of a failed build: the last lines of the step that failed
  static constexpr size_t kTrend = 20;
  static constexpr size_t kFailureLines = 30;
};

// Reads what there is to compare with. History that cannot be read is a story without it.
Story StoryOf(history::History& history, history::Build build);

}  // namespace varve::report
