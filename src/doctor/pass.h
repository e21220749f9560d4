// What the rules share. Internal to the module.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "doctor/diagnose.h"

namespace varve::doctor {

struct Pass {
  const Project& project;
  const DiagnoseOptions& options;
  std::vector<Finding> findings;

  // A finding at a line of a file, with its rule's severity. To be filled in.
  Finding& Add(std::string_view rule, const SourceFile& file, int line);

  double Seconds(const dockerfile::Instruction& instruction, bool* measured) const;
  // Of the RUN steps of all stages; or of all but those of the final stage and what it stands on.
  dockerfile::HintCost BuildCost(const BuildCall& call) const;
  dockerfile::HintCost OtherStagesCost(const BuildCall& call) const;
};

// What the build of a Dockerfile reads.
struct Context {
  std::string folder;  // relative to the project
  const SourceFile* ignore = nullptr;
};
Context ContextOf(const Project& project, const SourceFile& dockerfile);  // rules_dockerfiles.cc
std::string Under(const std::string& folder, const std::string& name);

// Of a build with what is known to differ between two of them.
bool IsVolatileValue(std::string_view value);  // another one in every build
bool IsBranchValue(std::string_view value);    // another one in every branch

// One line of a file with `from` replaced by `to`, as a fix; nothing where `from` does not stand
// there exactly once.
std::optional<Fix> ReplaceInLine(const SourceFile& file, int line, std::string_view from, std::string_view to);
std::string IndentOf(const SourceFile& file, int line);

void CheckLocations(Pass& pass);    // rules_locations.cc
void CheckRunners(Pass& pass);      // rules_runners.cc
void CheckSwitches(Pass& pass);     // rules_switches.cc
void CheckArguments(Pass& pass);    // rules_arguments.cc
void CheckDockerfiles(Pass& pass);  // rules_dockerfiles.cc
void CheckCopies(Pass& pass);       // rules_copies.cc
void CheckMounts(Pass& pass);       // rules_mounts.cc

}  // namespace varve::doctor
