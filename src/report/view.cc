#include "report/view.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/strings.h"

namespace varve::report {

namespace {

using history::Build;
using history::BuildStatus;
using history::Fate;
using history::Step;

std::string OneLine(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool blank = c == '\n' || c == '\t' || c == '\r' || c == ' ';
    if (!blank) out += c;
    else if (!out.ends_with(' ')) out += ' ';
  }
  return std::string(TrimSpace(out));
}

// "[linux/amd64 build 2/5] RUN make" → "2/5", "RUN make".
void SplitName(const std::string& name, Row& row) {
  size_t end = name.find("] ");
  if (!name.starts_with('[') || end == name.npos) {
    row.instruction = OneLine(name);
    return;
  }
  std::string inside = name.substr(1, end - 1);
  size_t blank = inside.rfind(' ');
  row.place = blank == inside.npos ? inside : inside.substr(blank + 1);
  row.instruction = OneLine(std::string_view(name).substr(end + 2));
  // Of several platforms in one stage: which one.
  size_t slash = inside.find('/');
  if (blank != inside.npos && slash < inside.find(' ')) {
    row.place = inside.substr(0, inside.find(' ')) + " " + row.place;
  }
}

uint64_t FetchedBytes(const Step& step) {
  uint64_t bytes = 0;
  for (const history::Part& part : step.parts) bytes += part.bytes;
  return bytes;
}

Row RowOf(const Step& step) {
  Row row{.step = &step};
  SplitName(step.name, row);
  uint64_t fetched = FetchedBytes(step);
  uint64_t bytes = step.new_bytes > 0 ? step.new_bytes : fetched;
  if (bytes > 0) row.size = FormatBytes(bytes);
  bool timed = step.started.nanos != 0 && step.wall.count() > 0;
  // What takes less is a look-up, for which "0ms" says too much.
  if (timed && step.wall >= Nanos(1'000'000)) row.time = FormatDuration(step.wall);
  switch (step.fate) {
    case Fate::kCached:
      row.result = step.source ? "here" : "cached";
      if (!step.tier.empty()) row.why = "from " + step.tier;
      if (step.saved.count() > 0) row.rebuild = FormatDuration(step.saved);
      break;
    case Fate::kRan:
      row.result = !step.source ? "ran" : fetched > 0 ? "fetched" : "resolved";
      row.why = step.source ? "" : step.why;
      break;
    case Fate::kFailed:
      row.result = "failed";
      row.why = step.error.empty() ? step.why : step.error;
      break;
    case Fate::kSkipped:
      row.result = "not needed";
      break;
    case Fate::kCancelled:
      row.result = "cancelled";
      break;
    case Fate::kRunning:
      row.result = "was running";
      break;
  }
  row.why = OneLine(row.why);
  return row;
}

std::string SignedBytes(int64_t change) {
  return (change < 0 ? "−" : "+") + FormatBytes(static_cast<uint64_t>(std::abs(change)));
}

}  // namespace

std::vector<Stage> StagesOf(const Build& build) {
  std::vector<Stage> stages;
  for (const Step& step : build.steps) {
    if (step.internal || step.stage.empty()) continue;
    auto stage = std::ranges::find(stages, step.stage, &Stage::name);
    if (stage == stages.end()) {
      stages.push_back({.name = step.stage});
      stage = stages.end() - 1;
    }
    if (!step.source && step.fate == Fate::kCached) {
      ++stage->cached;
      stage->saved += step.saved;
    }
    if (!step.source && (step.fate == Fate::kRan || step.fate == Fate::kFailed)) {
      ++stage->ran;
      stage->spent += step.wall;
    }
    stage->failed |= step.fate == Fate::kFailed;
    stage->rows.push_back(RowOf(step));
  }
  return stages;
}

std::string StageLine(const Stage& stage) {
  if (stage.cached + stage.ran == 0) {
    bool needed = std::ranges::any_of(stage.rows, [](const Row& row) { return row.step->fate != Fate::kSkipped; });
    return needed ? "no steps" : "not needed";
  }
  std::string line = fmt::format("{} cached, {} run", stage.cached, stage.ran);
  if (stage.spent.count() > 0) line += " in " + FormatDuration(stage.spent);
  if (stage.saved >= Nanos(50'000'000)) line += " · saved " + FormatDuration(stage.saved);
  return line;
}

std::vector<ImageRow> ImagesOf(const Story& story) {
  std::vector<ImageRow> rows;
  for (const history::Image& image : story.build.images) {
    ImageRow row{.image = &image};
    row.size = FormatBytes(image.size);
    if (image.compression == "mixed") row.size += ", partly compressed";
    else if (image.compression != "none") row.size += " " + image.compression;
    const history::Image* before = nullptr;
    for (size_t i = 0; story.previous && i < story.previous->images.size(); ++i) {
      const history::Image& past = story.previous->images[i];
      bool same = past.name == image.name && past.platform == image.platform;
      if (same && past.compression == image.compression) before = &past;
    }
    if (before != nullptr && before->digest == image.digest) {
      row.change = "same image";
    } else if (before != nullptr && before->size == image.size) {
      row.change = "same size";
    } else if (before != nullptr) {
      auto change = static_cast<int64_t>(image.size) - static_cast<int64_t>(before->size);
      row.change = SignedBytes(change);
      double percent = before->size == 0 ? 0 : 100.0 * static_cast<double>(change) / static_cast<double>(before->size);
      if (std::abs(percent) >= 0.1) {
        row.change +=
            fmt::format(" ({}{:.{}f}%)", change < 0 ? "−" : "+", std::abs(percent), std::abs(percent) < 10 ? 1 : 0);
      }
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string Headline(const Story& story) {
  const Build& build = story.build;
  std::string name = build.name.empty() ? build.command : build.name;
  if (!build.target.empty()) name += " (" + build.target + ")";
  std::string time = FormatDuration(build.Duration());
  switch (build.status) {
    case BuildStatus::kCompleted:
      return name + ": built in " + time;
    case BuildStatus::kFailed:
      return name + ": failed after " + time;
    case BuildStatus::kCancelled:
      return name + ": cancelled after " + time;
    case BuildStatus::kKilled:
      return name + ": killed after " + time;
    case BuildStatus::kRunning:
      return name + ": still running";
  }
  return name;
}

std::string Mark(BuildStatus status) {
  if (status == BuildStatus::kCompleted) return "✅";
  return status == BuildStatus::kFailed || status == BuildStatus::kKilled ? "❌" : "⛔";
}

std::vector<std::string> Facts(const Story& story) {
  history::Ratios ratios = RatiosOf(story.build);
  std::vector<std::string> facts;
  if (ratios.steps == 0) {
    facts.push_back("no step had to be looked up or run");
  } else {
    facts.push_back(fmt::format("{} of {} step{} cached", ratios.cached, ratios.steps, ratios.steps == 1 ? "" : "s"));
  }
  if (ratios.new_bytes > 0) facts.push_back(FormatBytes(ratios.new_bytes) + " new");
  if (ratios.saved >= Nanos(50'000'000)) {
    facts.push_back("the cache saved " + FormatDuration(ratios.saved));
  }
  if (story.previous) {
    facts.push_back("the last build took " + FormatDuration(story.previous->Duration()));
  }
  return facts;
}

std::string TierState(const history::TierUse& tier) {
  if (!tier.read_error.empty()) return "not used";
  if (!tier.write_error.empty()) return "not written";
  if (tier.read && tier.written) return "read, written";
  return tier.written ? "written" : tier.read ? "read" : "not asked";
}

std::string SavedBy(const history::TierUse& tier) {
  return tier.saved >= Nanos(50'000'000) ? FormatDuration(tier.saved) : "";
}

std::string TierErrors(const history::TierUse& tier) {
  if (tier.read_error.empty() || tier.read_error == tier.write_error) return tier.write_error;
  return tier.write_error.empty() ? tier.read_error : tier.read_error + "; " + tier.write_error;
}

std::string Percent(double ratio) {
  if (ratio <= 0) return "0%";
  if (ratio >= 1) return "100%";
  return fmt::format("{}%", std::clamp(static_cast<int>(std::lround(ratio * 100)), 1, 99));
}

std::string Bar(double ratio, int cells) {
  int full = static_cast<int>(std::lround(std::clamp(ratio, 0.0, 1.0) * cells));
  if (ratio > 0 && full == 0) full = 1;
  if (ratio < 1 && full == cells) full = cells - 1;
  std::string bar;
  for (int i = 0; i < cells; ++i) bar += i < full ? "█" : "░";
  return bar;
}

std::string Sparkline(const std::vector<double>& values, double low, double high) {
  static constexpr std::string_view kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string line;
  for (double value : values) {
    double part = high > low ? (value - low) / (high - low) : 1;
    line += kBlocks[std::clamp(static_cast<int>(std::lround(part * 7)), 0, 7)];
  }
  return line;
}

std::string Shortened(std::string_view text, size_t limit) {
  if (text.size() <= limit) return std::string(text);
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
  return std::string(text.substr(0, limit)) + "…";
}

}  // namespace varve::report
