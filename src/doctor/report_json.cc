#include <algorithm>

#include "base/digest.h"
#include "base/strings.h"
#include "doctor/report.h"

namespace varve::doctor {
namespace {

std::string_view KindName(FileKind kind) {
  switch (kind) {
    case FileKind::kDockerfile:
      return "dockerfile";
    case FileKind::kDockerignore:
      return "dockerignore";
    case FileKind::kCompose:
      return "compose";
    case FileKind::kBake:
      return "bake";
    case FileKind::kGithub:
      return "github";
    case FileKind::kGitlab:
      return "gitlab";
    case FileKind::kShell:
      return "shell";
  }
  return "";
}

Json ToJson(const Fix& fix) {
  Json edits = Json::EmptyArray();
  for (const Edit& edit : fix.edits) {
    edits.Append(
        Json().Set("firstLine", edit.first).Set("lastLine", edit.last).Set("lines", Json::Strings(edit.lines)));
  }
  return Json().Set("file", fix.file).Set("changesImage", fix.changes_image).Set("edits", std::move(edits));
}

Json ToJson(const Finding& finding) {
  Json json;
  json.Set("rule", finding.rule).Set("severity", SeverityName(finding.severity)).Set("file", finding.file);
  if (finding.span.start_line > 0) {
    json.Set("startLine", finding.span.start_line);
    json.Set("endLine", std::max(finding.span.start_line, finding.span.end_line));
  }
  if (!finding.also.empty()) {
    Json also = Json::EmptyArray();
    for (const dockerfile::Span& span : finding.also) also.Append(span.start_line);
    json.Set("alsoLines", std::move(also));
  }
  json.Set("reason", finding.reason).Set("remedy", finding.remedy);
  json.SetIf(!finding.text.empty(), "text", Json::Strings(finding.text));
  if (finding.cost.seconds > 0 || finding.cost.bytes > 0) {
    Json cost;
    cost.SetIf(finding.cost.seconds > 0, "seconds", finding.cost.seconds);
    cost.SetIf(finding.cost.bytes > 0, "bytes", finding.cost.bytes);
    json.Set("cost", cost.Set("basis", finding.cost.measured ? "measured" : "typical"));
  }
  if (finding.fix) json.Set("fix", ToJson(*finding.fix));
  return json;
}

// Percent-encoding for what a relative URI reference cannot hold (RFC 3986, section 3.3).
std::string Uri(const std::string& path) {
  std::string out;
  for (char c : path) {
    auto byte = static_cast<unsigned char>(c);
    bool plain = std::isalnum(byte) || std::string_view("/-._~!$&'()*+,;=@").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

Json Artifact(const std::string& file) { return Json().Set("uri", Uri(file)).Set("uriBaseId", "%SRCROOT%"); }

Json SarifFix(const Finding& finding) {
  Json replacements = Json::EmptyArray();
  for (const Edit& edit : finding.fix->edits) {
    // Whole lines: from the first column up to that of the line after; the same place for an
    // insertion.
    Json region;
    region.Set("startLine", edit.first).Set("startColumn", 1);
    region.Set("endLine", std::max(edit.first, edit.last + 1)).Set("endColumn", 1);
    std::string text;
    for (const std::string& line : edit.lines) text += line + "\n";
    Json replacement = Json().Set("deletedRegion", std::move(region));
    replacements.Append(replacement.SetIf(!text.empty(), "insertedContent", Json().Set("text", text)));
  }
  Json change =
      Json().Set("artifactLocation", Artifact(finding.fix->file)).Set("replacements", std::move(replacements));
  Json json = Json().Set("description", Json().Set("text", finding.remedy));
  return json.Set("artifactChanges", Json().Append(std::move(change)));
}

Json SarifResult(const Finding& finding, size_t rule_index) {
  Json json;
  json.Set("ruleId", finding.rule).Set("ruleIndex", rule_index).Set("level", SeverityName(finding.severity));
  std::string message = fmt::format("{}. Instead: {}.", finding.reason, finding.remedy);
  for (const std::string& line : finding.text) message += "\n    " + line;
  json.Set("message", Json().Set("text", message));
  int start = std::max(finding.span.start_line, 1);
  Json region = Json().Set("startLine", start).Set("endLine", std::max(start, finding.span.end_line));
  Json place = Json().Set("artifactLocation", Artifact(finding.file)).Set("region", std::move(region));
  json.Set("locations", Json().Append(Json().Set("physicalLocation", std::move(place))));
  // The same finding after lines above it have moved: what it says, not where.
  std::string identity = finding.rule + "\n" + finding.file + "\n" + Join(finding.text, "\n");
  json.Set("partialFingerprints", Json().Set("varveFinding/v1", Digest::Of(identity).Hex().substr(0, 16)));
  if (finding.fix) json.Set("fixes", Json().Append(SarifFix(finding)));
  return json;
}

}  // namespace

Json ToJson(const Project& project, const std::vector<Finding>& findings) {
  Json files = Json::EmptyArray(), list = Json::EmptyArray();
  for (const auto& file : project.files) files.Append(Json().Set("path", file->path).Set("kind", KindName(file->kind)));
  for (const Finding& finding : findings) list.Append(ToJson(finding));
  Tally tally = Count(findings);
  Json summary;
  summary.Set("errors", tally.errors)
      .Set("warnings", tally.warnings)
      .Set("notes", tally.notes)
      .Set("fixable", tally.fixable + tally.changing);
  Json json = Json().Set("version", 1).Set("files", std::move(files)).Set("findings", std::move(list));
  return json.Set("summary", std::move(summary));
}

Json ToSarif(const std::vector<Finding>& findings, const std::string& tool_version) {
  Json rules = Json::EmptyArray(), results = Json::EmptyArray();
  for (const RuleText& rule : Rules()) {
    Json json = Json().Set("id", rule.name).Set("name", rule.name);
    json.Set("shortDescription", Json().Set("text", std::string(rule.description) + "."));
    json.Set("help", Json().Set("text", fmt::format("doc/doctor.md, \"{}\", shows what it finds and what it does not.",
                                                    rule.name)));
    json.Set("defaultConfiguration", Json().Set("level", SeverityName(rule.severity)));
    rules.Append(std::move(json));
  }
  for (const Finding& finding : findings) {
    auto index = static_cast<size_t>(FindRule(finding.rule) - Rules().data());
    results.Append(SarifResult(finding, index));
  }
  Json driver = Json().Set("name", "varve doctor").Set("version", tool_version).Set("rules", std::move(rules));
  Json run = Json().Set("tool", Json().Set("driver", std::move(driver))).Set("columnKind", "utf16CodeUnits");
  run.Set("results", std::move(results));
  Json json = Json().Set("$schema", "https://json.schemastore.org/sarif-2.1.0.json").Set("version", "2.1.0");
  return json.Set("runs", Json().Append(std::move(run)));
}

}  // namespace varve::doctor
