// The rules that the text of a file decides.
#include <algorithm>
#include <set>
#include <string>

#include "base/strings.h"
#include "dockerfile/lint.h"
#include "dockerfile/runes.h"

namespace varve::dockerfile {
namespace {

bool IsLower(std::string_view text) { return text == ToLower(text); }
bool IsUpper(std::string_view text) { return text == ToUpper(text); }

// All instructions in the order of the file: FROM, then what follows it.
template <class Visit>
void ForEachOrigin(const Dockerfile& file, Visit visit) {
  for (const Stage& stage : file.stages) {
    visit(stage.origin);
    for (const Instruction& instruction : stage.instructions) visit(instruction.origin);
  }
}

// The comment nearest to the definition has to begin with a name that it defines.
void CheckDescription(std::string_view keyword, const Origin& origin, const std::vector<std::string>& names,
                      Linter& linter) {
  if (origin.comments.empty() || names.empty()) return;
  const std::string& comment = origin.comments.back();
  std::string first = comment.substr(0, comment.find(' '));
  if (std::find(names.begin(), names.end(), first) != names.end()) return;
  linter.Report(Rule::kInvalidDefinitionDescription, origin,
                fmt::format("Comment for {} should follow the format: `# {} <description>`", keyword,
                            names.size() > 1 ? "<arg_key>" : names[0]));
}

void CheckFrom(const Stage& stage, Linter& linter) {
  if (stage.name.empty()) return;
  if (!IsLower(stage.name_as_written)) {
    linter.Report(Rule::kStageNameCasing, stage.origin,
                  fmt::format("Stage name '{}' should be lowercase", stage.name_as_written));
  }
  // A keyword of mixed case is ConsistentInstructionCasing's matter.
  const std::string& from = stage.origin.keyword;
  bool matches = IsLower(from) ? IsLower(stage.as_keyword) : IsUpper(from) ? IsUpper(stage.as_keyword) : true;
  if (!matches) {
    linter.Report(Rule::kFromAsCasing, stage.origin,
                  fmt::format("'{}' and '{}' keywords' casing do not match", stage.as_keyword, from));
  }
  CheckDescription("FROM", stage.origin, {stage.name}, linter);
}

void CheckInstruction(const Instruction& instruction, Linter& linter) {
  if (std::holds_alternative<Maintainer>(instruction.body)) {
    linter.Report(Rule::kMaintainerDeprecated, instruction.origin,
                  "Maintainer instruction is deprecated in favor of using label");
  }
  if (const Arg* arg = std::get_if<Arg>(&instruction.body)) {
    std::vector<std::string> names;
    for (const ArgDefinition& definition : arg->definitions) names.push_back(definition.name);
    CheckDescription("ARG", instruction.origin, names, linter);
  }
}

// These two look at the file as a whole, so that the options of single instructions do not apply.
void CheckStageNames(const Dockerfile& file, Linter& linter) {
  std::set<std::string> seen;
  for (const Stage& stage : file.stages) {
    if (stage.name.empty()) continue;
    if (stage.name == "scratch" || stage.name == "context") {
      linter.Report(Rule::kReservedStageName, stage.origin.span,
                    fmt::format("Stage name should not use the same name as reserved stage {}", Quote(stage.name)));
    }
    if (!seen.insert(stage.name).second) {
      linter.Report(Rule::kDuplicateStageName, stage.origin.span,
                    fmt::format("Duplicate stage name {}, stage names should be unique", Quote(stage.name)));
    }
  }
}

void CheckCasing(const Dockerfile& file, Linter& linter) {
  int lower = 0, upper = 0;
  ForEachOrigin(file, [&](const Origin& origin) {
    if (IsLower(origin.keyword)) ++lower;
    else if (IsUpper(origin.keyword)) ++upper;
  });
  bool want_lower = lower > upper;
  ForEachOrigin(file, [&](const Origin& origin) {
    if (want_lower ? IsLower(origin.keyword) : IsUpper(origin.keyword)) return;
    linter.Report(Rule::kConsistentInstructionCasing, origin.span,
                  fmt::format("Command '{}' should match the case of the command majority ({})", origin.keyword,
                              want_lower ? "lowercase" : "uppercase"));
  });
}

}  // namespace

void CheckFile(const Dockerfile& file, Linter& linter) {
  for (const Span& span : file.empty_continuations) {
    linter.Report(Rule::kNoEmptyContinuation, span, "Empty continuation line");
  }
  for (const Instruction& arg : file.global_args) CheckInstruction(arg, linter);
  for (const Stage& stage : file.stages) {
    CheckFrom(stage, linter);
    for (const Instruction& instruction : stage.instructions) CheckInstruction(instruction, linter);
  }
  CheckStageNames(file, linter);
  CheckCasing(file, linter);
}

}  // namespace varve::dockerfile
