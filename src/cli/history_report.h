// Builds of the history as text and JSON, with Buildx's names where it has them (docker/buildx
// commands/history; reference cli.md §7).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "history/store.h"
#include "progress/board.h"

namespace varve::cli {

// "build abcdefghijkl of app, completed 2 minutes ago: 5 cached, 2 run in 1.2s".
std::string BuildLine(const history::Build& build);

// `--filter KEY OP VALUE` of `history ls`: ref, name, status (= !=; ref and name as a part of it),
// startedAt, completedAt, duration (< <= > >=; times are durations ago or RFC 3339).
Result<std::vector<history::Summary>> Filtered(std::vector<history::Summary> builds,
                                               const std::vector<std::string>& filters, Timestamp now);

std::string ListText(const std::vector<history::Summary>& builds, Timestamp now, bool whole);
Json ListJson(const std::vector<history::Summary>& builds);

std::string InspectText(const history::Build& build);
// Buildx's members first (Name, Ref, Status, NumCachedSteps, …), then Steps and Cache.
Json InspectJson(const history::Build& build);

// The build again on a display, at the times at which it happened.
void Replay(const history::Build& build, const std::vector<history::LogLine>& lines,
            std::unique_ptr<progress::Display> display);

// Self-contained: {"varve_history": 1, "builds": [{"build": …, "log": […], "trace": …}*]}.
Json ExportJson(const history::Build& build, const std::vector<history::LogLine>& lines);

}  // namespace varve::cli
