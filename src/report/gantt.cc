#include "report/gantt.h"

#include <algorithm>
#include <vector>

#include "base/strings.h"
#include "report/view.h"

namespace varve::report {

namespace {

constexpr int kLabelWidth = 330;
constexpr int kChartWidth = 820;
constexpr int kRowHeight = 22;
constexpr int kHead = 24;
constexpr size_t kLabelChars = 44;  // in DejaVu Sans, the widest of the usual fonts
constexpr double kMinBar = 2;

// Between ticks: 1, 2 or 5 times a power of ten, at most ten of them in `span`.
int64_t TickEvery(int64_t span) {
  int64_t step = 1'000'000;  // a millisecond
  while (true) {
    for (int64_t factor : {1, 2, 5}) {
      if (span / (step * factor) < 10) return step * factor;
    }
    step *= 10;
  }
}

std::string TickLabel(int64_t nanos, int64_t every) {
  if (nanos == 0) return "0";
  if (every < 1'000'000'000) {
    return every < 100'000'000 ? fmt::format("{}ms", nanos / 1'000'000)
                               : fmt::format("{:.1f}s", static_cast<double>(nanos) / 1e9);
  }
  return FormatDuration(Nanos(nanos));
}

std::string Tooltip(const history::Step& step) {
  std::string text = step.name + "\n" + std::string(FateName(step.fate)) + ", " + FormatDuration(step.wall);
  if (step.saved.count() > 0) text += ", saved " + FormatDuration(step.saved);
  if (!step.why.empty()) text += "\n" + step.why;
  if (!step.error.empty()) text += "\n" + step.error;
  return text;
}

class Chart {
 public:
  Chart(const history::Build& build, const std::vector<const history::Step*>& steps) : begin_(build.started.nanos) {
    int64_t end = std::max(build.ended.nanos, begin_ + 1'000'000);
    for (const history::Step* step : steps) {
      begin_ = std::min(begin_, step->started.nanos);
      end = std::max(end, step->started.nanos + step->wall.count());
    }
    span_ = end - begin_;
    height_ = kHead + kRowHeight * static_cast<int>(steps.size());
  }

  std::string Draw(const std::vector<const history::Step*>& steps) {
    int width = kLabelWidth + kChartWidth + 10;
    out_ = fmt::format(
        "<svg class=\"gantt\" role=\"img\" aria-label=\"Timeline of the steps\" "
        "viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n",
        width, height_ + 6);
    Ticks();
    int row = 0;
    for (const history::Step* step : steps) Row(*step, kHead + kRowHeight * row++);
    return out_ + "</svg>\n";
  }

 private:
  double X(int64_t nanos) const {
    return kLabelWidth + static_cast<double>(nanos - begin_) / static_cast<double>(span_) * kChartWidth;
  }

  void Ticks() {
    int64_t every = TickEvery(span_);
    for (int64_t at = 0; at <= span_; at += every) {
      double x = X(begin_ + at);
      out_ += fmt::format(
          "<line class=\"tick\" x1=\"{0:.1f}\" y1=\"18\" x2=\"{0:.1f}\" y2=\"{1}\"/>"
          "<text class=\"tick\" x=\"{0:.1f}\" y=\"12\">{2}</text>\n",
          x, height_, TickLabel(at, every));
    }
  }

  void Bar(std::string_view css, int64_t from, int64_t wall, int y, int height) {
    double x = X(from);
    double width = std::max(kMinBar, X(from + wall) - x);
    out_ += fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" rx=\"2\"/>", css, x, y,
                        width, height);
  }

  void Row(const history::Step& step, int y) {
    out_ += "<g><title>" + HtmlEscaped(Tooltip(step)) + "</title>";
    out_ += fmt::format("<text class=\"label\" x=\"{}\" y=\"{}\">{}</text>", kLabelWidth - 8, y + 15,
                        HtmlEscaped(Shortened(step.name.substr(0, step.name.find('\n')), kLabelChars)));
    Bar(FateClass(step), step.started.nanos, step.wall.count(), y + 4, kRowHeight - 8);
    for (const history::Part& part : step.parts) {
      Bar("part", part.started.nanos, part.wall.count(), y + 9, 4);
    }
    // Where the bar ends; at the chart's edge inside of it, or before it where it is too short for that.
    constexpr double kRoom = 60, kText = 36;
    double start = X(step.started.nanos);
    double end = std::max(start + kMinBar, X(step.started.nanos + step.wall.count()));
    bool at_edge = end > kLabelWidth + kChartWidth - kRoom, inside = at_edge && end - start >= kText;
    const char* css = inside ? " inside" : at_edge ? " before" : "";
    double x = inside ? end - 4 : at_edge ? start - 4 : end + 4;
    out_ += fmt::format("<text class=\"time{}\" x=\"{:.1f}\" y=\"{}\">{}</text></g>\n", css, x, y + 15,
                        FormatDuration(step.wall));
  }

  int64_t begin_, span_ = 1;
  int height_ = 0;
  std::string out_;
};

}  // namespace

std::string HtmlEscaped(std::string_view text) {
  std::string out;
  for (char c : text) {
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
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      // XML has no other control characters, not even escaped.
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return out;
}

std::string_view FateClass(const history::Step& step) {
  if (step.fate == history::Fate::kFailed) return "failed";
  if (step.source || step.internal) return "source";
  if (step.fate == history::Fate::kCached) return "cached";
  return step.fate == history::Fate::kRan ? "ran" : "other";
}

std::string Gantt(const history::Build& build) {
  std::vector<const history::Step*> steps;
  for (const history::Step& step : build.steps) {
    if (step.started.nanos != 0) steps.push_back(&step);
  }
  if (steps.empty()) return "";
  std::ranges::stable_sort(steps, {}, [](const history::Step* step) { return step->started; });
  return Chart(build, steps).Draw(steps);
}

}  // namespace varve::report
