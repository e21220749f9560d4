#include "report/story.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::report {

namespace {

std::string LastLines(const std::string& text, size_t count) {
  std::vector<std::string> lines = Split(text, '\n');
  while (!lines.empty() && TrimSpace(lines.back()).empty()) lines.pop_back();
  if (lines.size() > count) lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(count));
  return Join(lines, "\n");
}

std::string FailureLog(history::History& history, const history::Build& build) {
  for (const history::Step& step : build.steps) {
    if (step.fate != history::Fate::kFailed || !step.has_log) continue;
    auto lines = history.Log(build.id);
    std::string text;
    for (size_t i = 0; lines && i < lines->size(); ++i) {
      if ((*lines)[i].step == step.index) text += (*lines)[i].text;
    }
    return LastLines(text, Story::kFailureLines);
  }
  return "";
}

}  // namespace

Story StoryOf(history::History& history, history::Build build) {
  Story story{.build = std::move(build), .previous = {}, .trend = {}, .failure_log = {}};
  const history::Build& now = story.build;
  if (now.id.empty()) return story;
  story.failure_log = FailureLog(history, now);
  auto list = history.List();
  if (!list) return story;
  // Newest first, and other processes may have added builds since.
  for (history::Summary& past : *list) {
    bool same = past.project == now.project && past.command == now.command && past.target == now.target;
    bool ended = past.status != history::BuildStatus::kRunning;
    if (!same || !ended || past.started > now.started) continue;
    bool completed = past.status == history::BuildStatus::kCompleted;
    if (completed && past.id != now.id && !story.previous) {
      if (auto read = history.Read(past.id)) story.previous = std::move(*read);
    }
    if (story.trend.size() < Story::kTrend) story.trend.push_back(std::move(past));
    if (story.previous && story.trend.size() == Story::kTrend) break;
  }
  std::ranges::reverse(story.trend);
  return story;
}

}  // namespace varve::report
