#include "cli/warm_plans.h"

#include <filesystem>

#include "bake/selection.h"
#include "base/strings.h"
#include "cli/bake_entitlements.h"
#include "cli/bake_files.h"
#include "cli/bake_flags.h"
#include "cli/compose_flags.h"
#include "compose/loader.h"
#include "oci/platform.h"

namespace varve::cli {

namespace {

Result<std::string> WorkingDirectory() {
  std::error_code error;
  std::string directory = std::filesystem::current_path(error).string();
  if (error) return ErrnoError(error.value(), "the working directory");
  return directory;
}

}  // namespace

Result<std::vector<WarmPlan>> PlansOfBake(const std::vector<std::string>& files, const std::vector<std::string>& names,
                                          const std::vector<std::string>& allow, const job::GlobalFlags& global) {
  TRY_ASSIGN(auto read, ReadBakeFiles(files, "", global, {}));
  bake::ReadOptions options;
  TRY_ASSIGN(options.working_directory, WorkingDirectory());
  options.environment = compose::EnvironmentOfProcess();
  options.built_in = {{"BAKE_CMD_CONTEXT", "cwd://"}, {"BAKE_LOCAL_PLATFORM", oci::HostPlatform().ToString()}};
  TRY_ASSIGN(auto definition, bake::Read(read.files, options));
  TRY_ASSIGN(auto selection, bake::Select(definition, names, {}, options.environment));
  for (auto& [name, target] : selection.targets) TRY(PlaceContext(target, read.origin));
  TRY_ASSIGN(auto allowed, Entitlements::Parse(allow));
  std::vector<WarmPlan> plans;
  for (const bake::Target* target : selection.InOrder()) {
    TRY_ASSIGN(auto of, FlagsOfTarget(*target, read.origin));
    allowed.Need(of.flags);
    plans.push_back({.name = "target " + target->name,
                     .flags = std::move(of.flags),
                     .part = target->name,
                     .links = std::move(of.links)});
  }
  auto missing = allowed.FindMissing(true);
  if (!missing.said.empty()) {
    Error error = Invalid("the bake file asks for what was not granted:{}", Join(missing.said, ","));
    error.hint = "pass " + Join(missing.flags, " ");
    return error;
  }
  return plans;
}

Result<std::vector<WarmPlan>> PlansOfCompose(const std::vector<std::string>& files,
                                             const std::vector<std::string>& names) {
  compose::LoadOptions load{.files = files, .environment = compose::EnvironmentOfProcess()};
  TRY_ASSIGN(load.working_directory, WorkingDirectory());
  TRY_ASSIGN(auto loaded, compose::Load(load));
  TRY_ASSIGN(auto project, compose::MakeProject(std::move(loaded), {}, names));
  TRY_ASSIGN(auto services, compose::ServicesToBuild(project, names, false));
  std::vector<WarmPlan> plans;
  for (const compose::Service* service : services) {
    TRY_ASSIGN(auto of, FlagsOfService(project, *service, {}));
    plans.push_back({.name = "service " + service->name,
                     .flags = std::move(of.flags),
                     .part = service->name,
                     .links = std::move(of.services)});
  }
  return plans;
}

}  // namespace varve::cli
