#include "report/markdown.h"

#include <algorithm>

#include "base/strings.h"
#include "report/view.h"

namespace varve::report {

namespace {

// GitHub cuts a summary of more than 1 MiB away whole; a row is below 1 kB.
constexpr size_t kMaxRows = 600;
constexpr size_t kShown = 100;  // of an instruction or a reason
constexpr size_t kLongError = 2000;

std::string Code(std::string_view text) { return "<code>" + MarkdownEscaped(text) + "</code>"; }

// A fence longer than any in the text.
std::string Fenced(std::string_view text) {
  size_t longest = 2, run = 0;
  for (char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  std::string fence(longest + 1, '`');
  return fmt::format("{}text\n{}\n{}\n", fence, text, fence);
}

std::string Line(const std::vector<std::string>& cells) { return "| " + Join(cells, " | ") + " |\n"; }

void AddRatios(const Story& story, std::string& out) {
  history::Ratios ratios = RatiosOf(story.build);
  if (ratios.steps == 0) return;
  out += "| cache hits | | |\n|---|--:|---|\n";
  out += Line({"by steps", Percent(ratios.BySteps()), "`" + Bar(ratios.BySteps()) + "`"});
  out += Line({"by time", Percent(ratios.ByTime()), "`" + Bar(ratios.ByTime()) + "`"});
  out += "\n";
}

void AddFailure(const Story& story, std::string& out) {
  if (story.build.error.empty()) return;
  std::string error(TrimSpace(story.build.error));
  if (!story.failure_log.empty()) error += "\n\n" + story.failure_log;
  if (error.size() > kLongError * 4) error = "…" + error.substr(error.size() - kLongError * 4);
  out += Fenced(error) + "\n";
}

void AddImages(const Story& story, std::string& out) {
  std::vector<ImageRow> rows = ImagesOf(story);
  if (rows.empty()) return;
  bool compared = std::ranges::any_of(rows, [](const ImageRow& row) { return !row.change.empty(); });
  out += compared ? "| image | platform | size | against the last build | digest |\n|---|---|--:|--:|---|\n"
                  : "| image | platform | size | digest |\n|---|---|--:|---|\n";
  for (const ImageRow& row : rows) {
    std::vector<std::string> cells = {row.image->name.empty() ? "–" : Code(row.image->name), row.image->platform,
                                      row.size};
    if (compared) cells.push_back(row.change);
    cells.push_back(Code(row.image->digest));
    out += Line(cells);
  }
  out += "\n";
}

std::string ResultMark(const history::Step& step) {
  switch (step.fate) {
    case history::Fate::kCached:
      return step.source ? "⚪ " : "🟢 ";
    case history::Fate::kRan:
      return step.source ? "⚪ " : "🔵 ";
    case history::Fate::kFailed:
      return "🔴 ";
    default:
      return "⚪ ";
  }
}

void AddStage(const Stage& stage, size_t& rows_left, std::string& out) {
  std::string head = fmt::format("<b>{}</b>: {}", MarkdownEscaped(stage.name), StageLine(stage));
  // What hit entirely is folded away.
  out += fmt::format("<details{}><summary>{}</summary>\n\n", stage.ran > 0 ? " open" : "", head);
  out +=
      "| | step | result | why, or from where | size | time | rebuild |\n"
      "|--:|---|---|---|--:|--:|--:|\n";
  size_t shown = std::min(stage.rows.size(), rows_left);
  for (size_t i = 0; i < shown; ++i) {
    const Row& row = stage.rows[i];
    out +=
        Line({MarkdownEscaped(row.place), Code(Shortened(row.instruction, kShown)), ResultMark(*row.step) + row.result,
              MarkdownEscaped(Shortened(row.why, 2 * kShown)), row.size, row.time, row.rebuild});
  }
  rows_left -= shown;
  out += "\n";
  if (shown < stage.rows.size()) {
    out += fmt::format("and {} more steps, see `varve history inspect`\n\n", stage.rows.size() - shown);
  }
  out += "</details>\n\n";
}

void AddTiers(const Story& story, std::string& out) {
  if (story.build.tiers.empty()) return;
  out +=
      "### Caches\n\n| cache | | hits | saved | layers | read | written | requests | time |\n"
      "|---|---|--:|--:|--:|--:|--:|--:|--:|\n";
  for (const history::TierUse& tier : story.build.tiers) {
    // What failed, and what to do, is among the warnings.
    bool failed = !TierErrors(tier).empty();
    out += Line({Code(tier.name), (failed ? "⚠️ " : "") + TierState(tier), std::to_string(tier.hits), SavedBy(tier),
                 std::to_string(tier.layers), FormatBytes(tier.bytes_read), FormatBytes(tier.bytes_written),
                 std::to_string(tier.requests), FormatDuration(tier.time)});
  }
  out += "\n";
}

void AddWarnings(const Story& story, std::string& out) {
  std::string warnings, hints;
  for (const history::Warning& warning : story.build.warnings) {
    std::string line = "- " + MarkdownEscaped(Shortened(warning.text, kLongError));
    if (warning.hint && warning.line > 0) line += fmt::format(" (line {})", warning.line);
    if (!warning.remedy.empty()) line += "<br>" + MarkdownEscaped(Shortened(warning.remedy, kLongError));
    if (warning.url.starts_with("https://")) line += fmt::format(" [more]({})", warning.url);
    (warning.hint ? hints : warnings) += line + "\n";
  }
  if (!warnings.empty()) out += "### Warnings\n\n" + warnings + "\n";
  if (!hints.empty()) {
    out +=
        "<details><summary>Hints: what would make the cache hit more often</summary>\n\n" + hints + "\n</details>\n\n";
  }
}

void AddTrend(const Story& story, std::string& out) {
  if (story.trend.size() < 2) return;
  std::vector<double> times, hits, bytes;
  for (const history::Summary& build : story.trend) {
    times.push_back(static_cast<double>(build.duration.count()));
    hits.push_back(build.ratios.BySteps());
    bytes.push_back(static_cast<double>(build.ratios.new_bytes));
  }
  auto range = [](const std::vector<double>& values) {
    auto [low, high] = std::ranges::minmax(values);
    return std::pair(low, high);
  };
  auto duration = [](double nanos) { return FormatDuration(Nanos(static_cast<int64_t>(nanos))); };
  auto size = [](double value) { return FormatBytes(static_cast<uint64_t>(value)); };
  out += fmt::format(
      "### The last {} builds\n\n| | oldest → this one | least | most | this one |\n"
      "|---|---|--:|--:|--:|\n",
      story.trend.size());
  auto [fast, slow] = range(times);
  out += Line({"time", "`" + Sparkline(times, 0, slow) + "`", duration(fast), duration(slow), duration(times.back())});
  auto [few, most] = range(hits);
  out += Line({"steps cached", "`" + Sparkline(hits, 0, 1) + "`", Percent(few), Percent(most), Percent(hits.back())});
  auto [small, large] = range(bytes);
  out += Line({"new data", "`" + Sparkline(bytes, 0, large) + "`", size(small), size(large), size(bytes.back())});
  auto failed = std::ranges::count_if(
      story.trend, [](const history::Summary& build) { return build.status != history::BuildStatus::kCompleted; });
  out += failed == 0 ? "\n" : fmt::format("\n{} of them did not complete.\n\n", failed);
}

// Of what follows a colon: "//x" becomes a link, "rocket:" a picture.
bool MakesMore(std::string_view rest) {
  if (rest.starts_with("//")) return true;
  size_t end = rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_+-");
  return end != rest.npos && end > 0 && rest[end] == ':';
}

}  // namespace

std::string MarkdownEscaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == ':' && !MakesMore(text.substr(i + 1))) {
      out += c;
      continue;
    }
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\n':
      case '\r':
      case '\t':
        out += ' ';
        break;
      // Emphasis, code, links, cells, math, mentions, references to issues, emoji, bare links.
      case '*':
      case '_':
      case '`':
      case '[':
      case ']':
      case '\\':
      case '|':
      case '~':
      case '$':
      case '#':
      case '@':
      case '!':
      case ':':
        out += fmt::format("&#{};", static_cast<int>(c));
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    }
  }
  return out;
}

std::string Markdown(const Story& story) {
  std::string out = fmt::format("## {} {}\n\n", Mark(story.build.status), MarkdownEscaped(Headline(story)));
  std::vector<std::string> facts = Facts(story);
  facts[0] = "**" + facts[0] + "**";
  out += Join(facts, " · ") + "\n\n";
  AddFailure(story, out);
  AddRatios(story, out);
  AddImages(story, out);
  std::vector<Stage> stages = StagesOf(story.build);
  if (!stages.empty()) out += "### Steps\n\n";
  size_t rows_left = kMaxRows;
  for (const Stage& stage : stages) AddStage(stage, rows_left, out);
  AddTiers(story, out);
  AddWarnings(story, out);
  AddTrend(story, out);
  out += fmt::format("<sub>varve {} · build {} · {}</sub>\n", story.build.varve_version,
                     story.build.id.empty() ? "(not in the history)" : story.build.id,
                     FormatTime({story.build.started.seconds() * 1'000'000'000}));
  return out;
}

}  // namespace varve::report
