// A build as the tables of a report show it, whatever they are written in.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "report/story.h"

namespace varve::report {

struct Row {
  const history::Step* step = nullptr;
  std::string place;        // "2/5"; empty: the name has none
  std::string instruction;  // "RUN make", one line
  std::string result;       // "cached", "ran", "pulled", "not needed", …
  std::string why;          // why it ran; where it was cached, if not here
  std::string size;         // what it added or fetched; empty: nothing
  std::string time;         // of this build: running, or bringing back
  std::string rebuild;      // what running it had cost, where it was cached
};

struct Stage {
  std::string name;  // empty: the steps have no stage
  int cached = 0, ran = 0;
  bool failed = false;
  Nanos spent{0};
  Nanos saved{0};
  std::vector<Row> rows;
};

// In the order in which the stages come first; steps that are no steps of the graph are left out.
std::vector<Stage> StagesOf(const history::Build& build);
std::string StageLine(const Stage& stage);  // "2 cached, 1 run in 4.9s · saved 41s"

struct ImageRow {
  const history::Image* image = nullptr;
  std::string size;    // "45 MB gzip"
  std::string change;  // against the last build: "+1.2 MB (+3%)", "same image"; empty: nothing to compare
};
std::vector<ImageRow> ImagesOf(const Story& story);

std::string Headline(const Story& story);  // "app: built in 3.1s"
std::string Mark(history::BuildStatus status);
// "18 of 20 steps cached", "34.2 MB new", "the cache saved 41s", "last time it took 44s".
std::vector<std::string> Facts(const Story& story);
std::string TierState(const history::TierUse& tier);
std::string SavedBy(const history::TierUse& tier);  // "41s"; empty where it is not worth a word
std::string TierErrors(const history::TierUse& tier);

// 100% only where all of it is, 0% only where nothing is.
std::string Percent(double ratio);
std::string Bar(double ratio, int cells = 20);
// One character a value, ▁ the least and █ the most; of values from `low` to `high`.
std::string Sparkline(const std::vector<double>& values, double low, double high);
// At most `limit` bytes and an ellipsis; a character of several bytes is not cut.
std::string Shortened(std::string_view text, size_t limit);

}  // namespace varve::report
