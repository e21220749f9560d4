#include "report/html.h"

#include <algorithm>

#include "base/strings.h"
#include "report/gantt.h"
#include "report/step_graph.h"
#include "report/view.h"

namespace varve::report {

namespace {

// A policy that forbids everything but the styles below: what a build printed runs nothing here.
constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
:root { --text: #1f2328; --dim: #59636e; --page: #ffffff; --panel: #f6f8fa; --line: #d1d9e0;
  --cached: #2da44e; --ran: #2f6fdd; --failed: #d1242f; --source: #8c96a0; --other: #c8ccd1; --part: #ffffffb0; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --dim: #9198a1; --page: #0d1117; --panel: #161b22; --line: #3d444d;
    --cached: #3fb950; --ran: #539bf5; --failed: #f85149; --source: #6e7681; --other: #4a525b; --part: #00000070; }
}
* { box-sizing: border-box; }
body { font: 14px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--text);
  background: var(--page); margin: 0 auto; padding: 24px; max-width: 1240px; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 32px 0 8px; }
p { margin: 4px 0; }
.facts b { font-weight: 600; }
.dim, footer { color: var(--dim); }
footer { margin-top: 32px; border-top: 1px solid var(--line); padding-top: 8px; }
code, pre { font: 12.5px/1.45 ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--panel); border: 1px solid var(--line); border-left: 4px solid var(--failed);
  border-radius: 6px; padding: 10px 12px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 6px 0; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--dim); font-size: 12.5px; }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.w { white-space: nowrap; }
@media (max-width: 900px) {
  table { display: block; overflow-x: auto; }
  td code { overflow-wrap: normal; }
  details td:nth-child(2), details td:nth-child(4) { min-width: 16em; }
}
.bars { display: grid; grid-template-columns: auto 1fr auto; gap: 4px 12px; max-width: 480px; margin-top: 12px; align-items: center; }
.bar { height: 10px; background: var(--other); border-radius: 5px; overflow: hidden; }
.bar div { height: 100%; background: var(--cached); }
.dot { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 6px; }
.dot.cached { background: var(--cached); } .dot.ran { background: var(--ran); } .dot.failed { background: var(--failed); }
.dot.source { background: var(--source); } .dot.other { background: var(--other); }
h1 .dot { width: 14px; height: 14px; margin-right: 10px; }
details { border: 1px solid var(--line); border-radius: 6px; padding: 6px 12px; margin: 8px 0; }
summary { cursor: pointer; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: 8px; }
svg { display: block; } svg text { fill: var(--text); font-size: 12px; }
svg .label { text-anchor: end; } svg .time { fill: var(--dim); font-size: 11px; }
svg .time.inside, svg .time.before { text-anchor: end; } svg .time.inside { fill: var(--page); } svg text.tick { text-anchor: middle; fill: var(--dim); font-size: 11px; }
svg line.tick { stroke: var(--line); } svg rect.cached { fill: var(--cached); } svg rect.ran { fill: var(--ran); }
svg rect.failed { fill: var(--failed); } svg rect.source { fill: var(--source); } svg rect.other { fill: var(--other); }
svg rect.part { fill: var(--part); } svg rect.lane { fill: var(--panel); } svg text.lane { fill: var(--dim); font-weight: 600; }
svg rect.box { fill: var(--page); stroke: var(--line); } svg path.edge { fill: none; stroke: var(--source); stroke-width: 1.3; }
svg text.dim { fill: var(--dim); font-size: 11px; }
</style>
)";

// No emoji: where their font is missing, a page has boxes instead.
std::string_view StatusClass(history::BuildStatus status) {
  if (status == history::BuildStatus::kCompleted) return "cached";
  return status == history::BuildStatus::kCancelled ? "other" : "failed";
}

std::string Code(std::string_view text) { return "<code>" + HtmlEscaped(text) + "</code>"; }

// A cell whose content is HTML already; `numeric` is to the right.
std::string Cell(std::string_view html, bool numeric = false) {
  return fmt::format("<td{}>{}</td>", numeric ? " class=\"n\"" : "", html);
}

std::string HeadRow(std::initializer_list<std::string_view> names, size_t first_number) {
  std::string row = "<tr>";
  size_t i = 0;
  for (std::string_view name : names) {
    row += fmt::format("<th{}>{}</th>", i++ >= first_number ? " class=\"n\"" : "", name);
  }
  return row + "</tr>\n";
}

std::string RatioBars(const Story& story) {
  history::Ratios ratios = RatiosOf(story.build);
  if (ratios.steps == 0) return "";
  std::string out = "<div class=\"bars\">";
  for (auto [name, ratio] :
       {std::pair("hits by steps", ratios.BySteps()), std::pair("hits by time", ratios.ByTime())}) {
    out += fmt::format(
        "<span class=\"dim\">{}</span><div class=\"bar\"><div style=\"width:{:.1f}%\"></div></div>"
        "<span>{}</span>",
        name, ratio * 100, Percent(ratio));
  }
  return out + "</div>\n";
}

std::string Images(const Story& story) {
  std::vector<ImageRow> rows = ImagesOf(story);
  if (rows.empty()) return "";
  std::string out = "<h2>Images</h2>\n<table>" +
                    HeadRow({"image", "platform", "digest", "layers", "size", "against the last build"}, 3);
  for (const ImageRow& row : rows) {
    const history::Image& image = *row.image;
    out += "<tr>" + Cell(image.name.empty() ? "–" : Code(image.name)) + Cell(HtmlEscaped(image.platform));
    out += Cell(Code(image.digest)) + Cell(std::to_string(image.layers), true) + Cell(row.size, true);
    out += Cell(row.change, true) + "</tr>\n";
  }
  return out + "</table>\n";
}

std::string StageTable(const Stage& stage) {
  std::string out = fmt::format("<details{}><summary><b>{}</b> <span class=\"dim\">{}</span></summary>\n<table>",
                                stage.ran > 0 ? " open" : "", HtmlEscaped(stage.name), StageLine(stage));
  out += HeadRow({"", "step", "result", "why, or from where", "size", "time", "rebuild"}, 4);
  for (const Row& row : stage.rows) {
    out += "<tr>" + Cell(HtmlEscaped(row.place)) + Cell(Code(row.instruction));
    out += fmt::format("<td class=\"w\"><span class=\"dot {}\"></span>{}</td>", FateClass(*row.step), row.result);
    out += Cell(HtmlEscaped(row.why)) + Cell(row.size, true) + Cell(row.time, true) + Cell(row.rebuild, true);
    out += "</tr>\n";
  }
  return out + "</table></details>\n";
}

std::string Tiers(const Story& story) {
  if (story.build.tiers.empty()) return "";
  std::string out = "<h2>Caches</h2>\n<table>" +
                    HeadRow({"cache", "", "hits", "saved", "layers", "read", "written", "requests", "time"}, 2);
  for (const history::TierUse& tier : story.build.tiers) {
    std::string state = TierState(tier), errors = TierErrors(tier);
    if (!errors.empty()) state = "<b>" + state + "</b>: " + HtmlEscaped(errors);
    out += "<tr>" + Cell(Code(tier.name)) + Cell(state) + Cell(std::to_string(tier.hits), true) +
           Cell(SavedBy(tier), true);
    out += Cell(std::to_string(tier.layers), true) + Cell(FormatBytes(tier.bytes_read), true);
    out += Cell(FormatBytes(tier.bytes_written), true) + Cell(std::to_string(tier.requests), true);
    out += Cell(FormatDuration(tier.time), true) + "</tr>\n";
  }
  return out + "</table>\n";
}

std::string Warnings(const Story& story, bool hints) {
  std::string out;
  for (const history::Warning& warning : story.build.warnings) {
    if (warning.hint != hints) continue;
    out += "<li>" + HtmlEscaped(warning.text);
    if (hints && warning.line > 0) out += fmt::format(" (line {})", warning.line);
    if (!warning.remedy.empty()) out += "<br><span class=\"dim\">" + HtmlEscaped(warning.remedy) + "</span>";
    if (warning.url.starts_with("https://")) out += fmt::format(" <a href=\"{}\">more</a>", HtmlEscaped(warning.url));
    out += "</li>\n";
  }
  if (out.empty()) return "";
  return fmt::format("<h2>{}</h2>\n<ul>\n{}</ul>\n", hints ? "Hints" : "Warnings", out);
}

std::string Trend(const Story& story) {
  if (story.trend.size() < 2) return "";
  constexpr int kHeight = 90, kColumn = 34;
  double slowest = 1;
  for (const history::Summary& build : story.trend) {
    slowest = std::max(slowest, static_cast<double>(build.duration.count()));
  }
  int width = kColumn * static_cast<int>(story.trend.size());
  std::string out = fmt::format(
      "<h2>The last {0} builds</h2>\n<p class=\"dim\">Duration, oldest first, and the share "
      "of steps that were cached.</p>\n<div class=\"scroll\"><svg role=\"img\" "
      "aria-label=\"Duration of the last builds\" viewBox=\"0 0 {1} {2}\" width=\"{1}\" "
      "height=\"{2}\">\n",
      story.trend.size(), width, kHeight + 38);
  int x = 0;
  for (const history::Summary& build : story.trend) {
    double height = std::max(2.0, static_cast<double>(build.duration.count()) / slowest * kHeight);
    bool good = build.status == history::BuildStatus::kCompleted;
    out += fmt::format(
        "<g><title>{}</title><rect class=\"{}\" x=\"{}\" y=\"{:.1f}\" width=\"{}\" height=\"{:.1f}\" rx=\"2\"/>"
        "<text class=\"tick\" x=\"{}\" y=\"{}\">{}</text></g>\n",
        HtmlEscaped(fmt::format("{}\n{}, {}\n{} of {} cached", build.id, StatusName(build.status),
                                FormatTime(build.started), build.ratios.cached, build.ratios.steps)),
        good ? "ran" : "failed", x + 5, 16 + kHeight - height, kColumn - 10, height, x + kColumn / 2, kHeight + 32,
        Percent(build.ratios.BySteps()));
    out += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{:.1f}\">{}</text>\n", x + kColumn / 2, 12 + kHeight - height,
                       FormatDuration(build.duration));
    x += kColumn;
  }
  return out + "</svg></div>\n";
}

std::string Section(std::string_view title, const std::string& svg) {
  return svg.empty() ? "" : fmt::format("<h2>{}</h2>\n<div class=\"scroll\">{}</div>\n", title, svg);
}

}  // namespace

std::string Html(const Story& story) {
  const history::Build& build = story.build;
  std::string out(kHead);
  std::string headline = HtmlEscaped(Headline(story));
  out += fmt::format("<title>{}</title>\n</head>\n<body>\n<h1><span class=\"dot {}\"></span>{}</h1>\n", headline,
                     StatusClass(build.status), headline);
  std::vector<std::string> facts = Facts(story);
  out += fmt::format("<p class=\"facts\"><b>{}</b>", HtmlEscaped(facts[0]));
  for (size_t i = 1; i < facts.size(); ++i) out += " · " + HtmlEscaped(facts[i]);
  out += "</p>\n" + RatioBars(story);
  if (!build.error.empty()) {
    std::string text = build.error + (story.failure_log.empty() ? "" : "\n\n" + story.failure_log);
    out += "<pre>" + HtmlEscaped(text) + "</pre>\n";
  }
  out += Images(story) + Section("Timeline", Gantt(build)) + Section("Graph", StepGraph(build));
  std::vector<Stage> stages = StagesOf(build);
  if (!stages.empty()) out += "<h2>Steps</h2>\n";
  for (const Stage& stage : stages) out += StageTable(stage);
  out += Tiers(story) + Warnings(story, false) + Warnings(story, true) + Trend(story);
  std::string command = Join(build.arguments, " ");
  out += fmt::format(
      "<footer>varve {} · build {} · {}<br>{}</footer>\n</body>\n</html>\n", HtmlEscaped(build.varve_version),
      build.id.empty() ? "(not in the history)" : HtmlEscaped(build.id),
      FormatTime({build.started.seconds() * 1'000'000'000}), command.empty() ? "" : Code("varve " + command));
  return out;
}

}  // namespace varve::report
