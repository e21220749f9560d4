#include "doctor/diagnose.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "dockerfile/package_managers.h"
#include "doctor/pass.h"

namespace varve::doctor {

namespace {

bool Contains(std::string_view text, std::string_view word) { return text.find(word) != text.npos; }

// The comment's list names the rule, or names none.
bool Names(std::string_view list, const std::string& rule) {
  list = TrimSpace(list.substr(0, list.find("--")));
  if (list.empty()) return true;
  for (const std::string& part : Split(list, ',')) {
    std::string_view name = TrimSpace(part);
    if (name.substr(0, name.find(' ')) == rule) return true;
  }
  return false;
}

// `marker` in a comment of the line, and what stands behind it.
std::optional<std::string_view> Marked(std::string_view line, std::string_view marker) {
  size_t hash = line.find('#');
  size_t at = hash == line.npos ? line.npos : line.find(marker, hash);
  if (at == line.npos) return std::nullopt;
  std::string_view rest = line.substr(at + marker.size());
  if (!rest.empty() && rest[0] != ' ' && rest[0] != '\t') return std::nullopt;
  return rest;
}

bool IsSilenced(const SourceFile& file, const Finding& finding) {
  for (const std::string& line : file.lines) {
    auto list = Marked(line, "varve:ignore-file");
    if (list && Names(*list, finding.rule)) return true;
  }
  if (finding.span.start_line == 0) return false;
  auto on = [&](int number) {
    if (number < 1 || number > static_cast<int>(file.lines.size())) return false;
    auto list = Marked(file.lines[static_cast<size_t>(number - 1)], "varve:ignore");
    return list && Names(*list, finding.rule);
  };
  for (int line = finding.span.start_line; line <= std::max(finding.span.start_line, finding.span.end_line); ++line) {
    if (on(line)) return true;
  }
  // All comment lines right above.
  for (int line = finding.span.start_line - 1; line >= 1; --line) {
    if (!TrimSpace(file.lines[static_cast<size_t>(line - 1)]).starts_with('#')) break;
    if (on(line)) return true;
  }
  return false;
}

}  // namespace

Finding& Pass::Add(std::string_view rule, const SourceFile& file, int line) {
  const RuleText* text = FindRule(rule);
  CHECK(text != nullptr);
  Finding finding{.rule = std::string(rule), .severity = text->severity, .file = file.path};
  if (line > 0) finding.span = dockerfile::Span::Lines(line, line);
  findings.push_back(std::move(finding));
  return findings.back();
}

double Pass::Seconds(const dockerfile::Instruction& instruction, bool* measured) const {
  const auto* run = std::get_if<dockerfile::Run>(&instruction.body);
  if (run == nullptr) return 0;
  if (options.seconds) {
    if (auto seconds = options.seconds(instruction.origin.text)) {
      *measured = true;
      return *seconds;
    }
  }
  return dockerfile::TypicalSeconds(*run);
}

dockerfile::HintCost Pass::BuildCost(const BuildCall& call) const {
  dockerfile::HintCost cost;
  const SourceFile* file = project.DockerfileOf(call);
  if (file == nullptr) return cost;
  for (const dockerfile::Stage& stage : file->dockerfile->stages) {
    for (const auto& instruction : stage.instructions) cost.seconds += Seconds(instruction, &cost.measured);
  }
  return cost;
}

dockerfile::HintCost Pass::OtherStagesCost(const BuildCall& call) const {
  dockerfile::HintCost cost;
  const SourceFile* file = project.DockerfileOf(call);
  if (file == nullptr || file->dockerfile->stages.empty()) return cost;
  const auto& stages = file->dockerfile->stages;
  std::vector<bool> in_image(stages.size());
  // The final stage, or the one that is asked for, and the chain of stages that it is built FROM.
  size_t at = stages.size() - 1;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (!call.target.empty() && EqualsIgnoreCase(stages[i].name, call.target)) at = i;
  }
  for (bool more = true; more;) {
    in_image[at] = true;
    more = false;
    for (size_t i = at; i-- > 0;) {
      if (stages[i].name.empty() || !EqualsIgnoreCase(stages[i].name, stages[at].base)) continue;
      at = i;
      more = true;
      break;
    }
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    if (in_image[i]) continue;
    for (const auto& instruction : stages[i].instructions) cost.seconds += Seconds(instruction, &cost.measured);
  }
  return cost;
}

bool IsVolatileValue(std::string_view value) {
  static constexpr std::array<std::string_view, 18> kWords = {"github.sha",
                                                              "github.run_",
                                                              "GITHUB_SHA",
                                                              "GITHUB_RUN_",
                                                              "CI_COMMIT_SHA",
                                                              "CI_COMMIT_SHORT_SHA",
                                                              "CI_COMMIT_TIMESTAMP",
                                                              "CI_PIPELINE_",
                                                              "CI_JOB_ID",
                                                              "git rev-parse",
                                                              "git describe",
                                                              "git log",
                                                              "$(date",
                                                              "`date",
                                                              "shell date",
                                                              "BUILD_NUMBER",
                                                              "timestamp()",
                                                              "github.event.head_commit"};
  return std::ranges::any_of(kWords, [&](std::string_view word) { return Contains(value, word); });
}

bool IsBranchValue(std::string_view value) {
  static constexpr std::array<std::string_view, 7> kWords = {"github.ref",      "github.head_ref", "GITHUB_REF",
                                                             "GITHUB_HEAD_REF", "CI_COMMIT_REF_",  "CI_COMMIT_BRANCH",
                                                             "git branch"};
  return std::ranges::any_of(kWords, [&](std::string_view word) { return Contains(value, word); });
}

std::optional<Fix> ReplaceInLine(const SourceFile& file, int line, std::string_view from, std::string_view to) {
  if (line < 1 || line > static_cast<int>(file.lines.size()) || from.empty()) return std::nullopt;
  std::string text = file.lines[static_cast<size_t>(line - 1)];
  size_t at = text.find(from);
  if (at == text.npos || text.find(from, at + 1) != text.npos) return std::nullopt;
  text.replace(at, from.size(), to);
  return Fix{.file = file.path, .edits = {{line, line, {text}}}};
}

std::string IndentOf(const SourceFile& file, int line) {
  if (line < 1 || line > static_cast<int>(file.lines.size())) return "";
  const std::string& text = file.lines[static_cast<size_t>(line - 1)];
  return text.substr(0, std::min(text.find_first_not_of(" \t"), text.size()));
}

std::vector<Finding> Diagnose(const Project& project, const DiagnoseOptions& options) {
  Pass pass{project, options, {}};
  CheckDockerfiles(pass);
  CheckMounts(pass);
  CheckCopies(pass);
  CheckArguments(pass);
  CheckLocations(pass);
  CheckRunners(pass);
  CheckSwitches(pass);
  std::erase_if(pass.findings, [&](const Finding& finding) {
    const SourceFile* file = project.Find(finding.file);
    return options.skip.contains(finding.rule) || (file != nullptr && IsSilenced(*file, finding));
  });
  std::ranges::stable_sort(pass.findings, [](const Finding& a, const Finding& b) {
    return std::tie(a.file, a.span.start_line, a.rule) < std::tie(b.file, b.span.start_line, b.rule);
  });
  // One file may be reached by several calls that say the same of it.
  auto same = [](const Finding& a, const Finding& b) {
    return a.rule == b.rule && a.file == b.file && a.span == b.span && a.reason == b.reason;
  };
  pass.findings.erase(std::ranges::unique(pass.findings, same).begin(), pass.findings.end());
  return std::move(pass.findings);
}

}  // namespace varve::doctor
