#include "dockerfile/undeclared_args.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "dockerfile/suggest.h"

namespace varve::dockerfile {
namespace {

// Declared by nobody, and known all the same.
bool IsPredefined(std::string_view name) {
  std::string upper = ToUpper(name);
  return upper.ends_with("_PROXY") || name.starts_with("BUILDKIT_") || name.starts_with("TARGET") ||
         name.starts_with("BUILD") || name == "SOURCE_DATE_EPOCH";
}

void AddNames(const Instruction& instruction, std::set<std::string>* names) {
  const Arg* arg = std::get_if<Arg>(&instruction.body);
  if (arg == nullptr) return;
  for (const ArgDefinition& definition : arg->definitions) names->insert(definition.name);
}

}  // namespace

std::vector<std::string> MisspeltBuildArgs(const Dockerfile& file,
                                           const std::vector<std::pair<std::string, std::string>>& build_args) {
  std::set<std::string> declared;
  for (const Instruction& instruction : file.global_args) AddNames(instruction, &declared);
  for (const Stage& stage : file.stages) {
    for (const Instruction& instruction : stage.instructions) AddNames(instruction, &declared);
  }
  std::vector<std::string_view> names(declared.begin(), declared.end());
  std::vector<std::string> out;
  for (const auto& [name, value] : build_args) {
    // Two letters are near to any other two.
    if (declared.contains(name) || IsPredefined(name) || name.size() < 4) continue;
    std::string meant = DidYouMean(name, names, true);
    if (!meant.empty()) out.push_back(fmt::format("build argument {} is not declared{}", name, meant));
  }
  return out;
}

std::vector<std::string> UnknownFilteredStages(const Dockerfile& file,
                                               const std::vector<std::string>& no_cache_filter) {
  std::vector<std::string_view> names;
  for (const Stage& stage : file.stages) {
    if (!stage.name.empty()) names.push_back(stage.name);
  }
  std::vector<std::string> out;
  for (const std::string& wanted : no_cache_filter) {
    if (std::ranges::any_of(names, [&](std::string_view name) { return EqualsIgnoreCase(name, wanted); })) continue;
    out.push_back(
        fmt::format("no stage has the name {} of --no-cache-filter{}", wanted, DidYouMean(wanted, names, false)));
  }
  return out;
}

}  // namespace varve::dockerfile
