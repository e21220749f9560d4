// What `cache warm` brings along, as the builds that would find it: the targets of a bake file, the services
// of a Compose file.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "job/build_flags.h"

namespace varve::cli {

// One Dockerfile and target, for all platforms.
struct WarmPlan {
  std::string name;  // for people
  job::BuildFlags flags;
  std::string part = {};                                        // the target or service
  std::vector<std::pair<std::string, std::string>> links = {};  // named context, part; of an earlier plan
};

// Plans come after those that their links name. Empty `files`: those of the default names; empty `names`: what
// `varve bake` and `varve compose build` build. kInvalid too where a bake file asks for what `allow` does not
// grant.
Result<std::vector<WarmPlan>> PlansOfBake(const std::vector<std::string>& files, const std::vector<std::string>& names,
                                          const std::vector<std::string>& allow, const job::GlobalFlags& global);
Result<std::vector<WarmPlan>> PlansOfCompose(const std::vector<std::string>& files,
                                             const std::vector<std::string>& names);

}  // namespace varve::cli
