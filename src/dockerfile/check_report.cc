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

Json ToJson(const Warning& warning) {
  Json json;
  json.Set("ruleName", warning.rule).Set("description", warning.detail);
  json.SetIf(!warning.url.empty(), "url", warning.url).Set("detail", warning.message);
  return json.Set("location", LocationJson(warning.span));
}

}  // namespace

Json LocationJson(const Span& span) {
  if (span.start_line == 0) return Json::EmptyObject();
  Json range;
  range.Set("start", Position(span.start_line, span.start_column));
  range.Set("end", Position(span.end_line, span.end_column));
  return Json().Set("ranges", Json().Append(std::move(range)));
}

Json ToJson(const CheckReport& report) {
  Json warnings = Json::EmptyArray();
  for (const Warning& warning : report.warnings) warnings.Append(ToJson(warning));
  Json source;
  source.Set("filename", report.file_name).Set("data", Base64Encode(report.source));
  source.Set("language", "Dockerfile");
  Json json;
  json.Set("warnings", std::move(warnings)).Set("sources", Json().Append(std::move(source)));
  if (report.error) {
    Json error = Json().Set("message", report.error->error.message);
    json.Set("buildError", error.Set("location", LocationJson(report.error->span)));
  }
  return json;
}

std::string WarningsText(const CheckReport& report) {
  std::vector<const Warning*> sorted;
  for (const Warning& warning : report.warnings) sorted.push_back(&warning);
  std::ranges::stable_sort(sorted, [](const Warning* a, const Warning* b) {
    return a->span.start_line < b->span.start_line;
  });
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
  return text + WarningsText(report);
}

}  // namespace varve::dockerfile
