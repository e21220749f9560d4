#include "dockerfile/check_report.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/hex.h"
#include "dockerfile/excerpt.h"

namespace varve::dockerfile {
namespace {

Json Position(int line, int column) {
  Json json = Json().Set("line", line);
  return json.SetIf(column > 0, "character", column);
}

Json RangeJson(const Span& span) {
  Json range = Json().Set("start", Position(span.start_line, span.start_column));
  return range.Set("end", Position(span.end_line, span.end_column));
}

Json ToJson(const Warning& warning) {
  Json json;
  json.Set("ruleName", warning.rule).Set("description", warning.detail);
  json.SetIf(!warning.url.empty(), "url", warning.url).Set("detail", warning.message);
  return json.Set("location", LocationJson(warning.span));
}

Json LocationJson(const std::vector<Span>& spans) {
  if (spans.empty()) return Json::EmptyObject();
  Json ranges = Json::EmptyArray();
  for (const Span& span : spans) ranges.Append(RangeJson(span));
  return Json().Set("ranges", std::move(ranges));
}

Json ToJson(const CacheHint& hint) {
  const CacheRuleText& rule = Describe(hint.rule);
  Json json;
  json.Set("ruleName", rule.name).Set("description", rule.description);
  json.Set("detail", hint.reason).Set("remedy", hint.remedy);
  json.SetIf(!hint.text.empty(), "text", Json::Strings(hint.text));
  Json cost = Json::EmptyObject();
  cost.SetIf(hint.cost.seconds > 0, "seconds", hint.cost.seconds);
  cost.SetIf(hint.cost.bytes > 0, "bytes", hint.cost.bytes);
  cost.Set("basis", hint.cost.measured ? "measured" : "typical");
  return json.Set("cost", std::move(cost)).Set("location", LocationJson(hint.spans));
}

std::string OtherLines(const std::vector<Span>& spans) {
  if (spans.size() < 2) return "";
  std::string text = spans.size() == 2 ? "also line " : "also lines ";
  for (size_t i = 1; i < spans.size(); ++i) {
    if (i > 1) text += i + 1 < spans.size() ? ", " : " and ";
    text += std::to_string(spans[i].start_line);
  }
  return text + "\n";
}

std::string HintText(const CheckReport& report, const CacheHint& hint) {
  std::string text = fmt::format("\nHINT: {}\n{}\n", Describe(hint.rule).name, hint.reason);
  if (!hint.spans.empty()) {
    // A long instruction is known by its first lines.
    constexpr int kLines = 3;
    Span head = hint.spans[0];
    head.end_line = std::min(head.end_line, head.start_line + kLines - 1);
    text += RenderExcerpt(report.file_name, report.source, {&head, 1});
    text += OtherLines(hint.spans);
  }
  text += fmt::format("Instead: {}\n", hint.remedy);
  for (const std::string& line : hint.text) text += "    " + line + "\n";
  std::string cost = hint.cost.ToString();
  if (!cost.empty()) text += fmt::format("Cost:    {}\n", cost);
  return text;
}

}  // namespace

Json LocationJson(const Span& span) {
  if (span.start_line == 0) return Json::EmptyObject();
  return Json().Set("ranges", Json().Append(RangeJson(span)));
}

Json ToJson(const CheckReport& report) {
  Json warnings = Json::EmptyArray();
  for (const Warning& warning : report.warnings) warnings.Append(ToJson(warning));
  Json source;
  source.Set("filename", report.file_name).Set("data", Base64Encode(report.source));
  source.Set("language", "Dockerfile");
  Json json;
  json.Set("warnings", std::move(warnings)).Set("sources", Json().Append(std::move(source)));
  if (!report.hints.empty()) {
    Json hints = Json::EmptyArray();
    for (const CacheHint& hint : report.hints) hints.Append(ToJson(hint));
    json.Set("hints", std::move(hints));
  }
  if (report.error) {
    Json error = Json().Set("message", report.error->error.message);
    json.Set("buildError", error.Set("location", LocationJson(report.error->span)));
  }
  return json;
}

std::string WarningsText(const CheckReport& report) {
  std::vector<const Warning*> sorted;
  for (const Warning& warning : report.warnings) sorted.push_back(&warning);
  std::ranges::stable_sort(sorted,
                           [](const Warning* a, const Warning* b) { return a->span.start_line < b->span.start_line; });
  std::string text;
  for (const Warning* warning : sorted) {
    text += fmt::format("\nWARNING: {}", warning->rule);
    if (!warning->url.empty()) text += " - " + warning->url;
    text += fmt::format("\n{}\n", warning->message);
    text += RenderExcerpt(report.file_name, report.source, {&warning->span, 1});
  }
  return text;
}

std::string ToText(const CheckReport& report) {
  size_t count = report.warnings.size();
  std::string text;
  if (count == 1) {
    text = "Check complete, 1 warning has been found!\n";
  } else if (count > 1) {
    text = fmt::format("Check complete, {} warnings have been found!\n", count);
  } else if (!report.error) {
    text = "Check complete, no warnings found.\n";
  }
  return text + WarningsText(report) + HintsText(report);
}

std::string HintsText(const CheckReport& report) {
  size_t count = report.hints.size();
  if (count == 0) return "";
  std::string text = fmt::format("\n{} hint{} about caching\n", count, count == 1 ? "" : "s");
  for (const CacheHint& hint : report.hints) text += HintText(report, hint);
  return text;
}

std::string HintsSummary(const std::vector<CacheHint>& hints) {
  constexpr double kSeconds = 10;
  constexpr uint64_t kBytes = 100'000'000;
  bool costly = std::ranges::any_of(hints, [](const CacheHint& hint) {
    // How often a base moves is not in the builder's hands, and the line would be in every build.
    if (hint.rule == CacheRule::kUnpinnedBase) return false;
    return hint.cost.seconds >= kSeconds || hint.cost.bytes >= kBytes;
  });
  if (!costly) return "";
  return fmt::format("{} hint{} about caching: varve build --check", hints.size(), hints.size() == 1 ? "" : "s");
}

}  // namespace varve::dockerfile
