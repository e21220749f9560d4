// A Compose service's build section as the flags of `varve build`.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "compose/project.h"
#include "job/build_flags.h"

namespace varve::cli {

// Flags of `varve compose build`, for all services.
struct ComposeBuildFlags {
  std::vector<std::pair<std::string, std::string>> build_args;  // win over those of the files
  std::vector<std::string> ssh;                                 // added to those of the files
  std::string memory;
  std::string provenance, sbom;  // empty: what the files say
  bool no_cache = false;
  bool pull = false;
  bool push = false;
  bool load = false;
};

// What else the section says: contexts that are other services, and what this version cannot do.
struct ServiceFlags {
  job::BuildFlags flags;
  std::vector<std::pair<std::string, std::string>> services;  // named context, service
  std::vector<std::string> warnings;
};

// kInvalid, naming the service, for values that the build flags refuse.
Result<ServiceFlags> FlagsOfService(const compose::Project& project, const compose::Service& service,
                                    const ComposeBuildFlags& all);

// The services as a bake file (`--print`).
Json BakeFile(const compose::Project& project, const std::vector<const compose::Service*>& services,
              const std::vector<std::string>& named, const ComposeBuildFlags& all);

}  // namespace varve::cli
