// A loaded Compose model as values: which services there are, which are active, what each builds
// (reference compose-bake.md, A1 to A6, A13).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compose/loader.h"

namespace varve::compose {

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct BuildSecret {
  std::string id;        // as the Dockerfile names it
  std::string file;      // absolute; or …
  std::string variable;  // … of the project's environment, with its
  std::string value;     // value there
};

// `build` of a service. Texts have the grammar of the build flags of the same name.
struct Build {
  std::string context;     // absolute directory, or a URL
  std::string dockerfile;  // from the context; empty: Dockerfile
  std::optional<std::string> dockerfile_inline;
  Pairs args;  // those with a value; null ones are looked up
  Pairs labels;
  Pairs additional_contexts;  // value service:NAME, a directory, a URL, docker-image://…
  std::vector<std::string> tags, platforms, cache_from, cache_to, no_cache_filter, entitlements;
  std::vector<std::string> ssh;  // "default", "id=path"
  std::vector<BuildSecret> secrets;
  Pairs extra_hosts;                 // name, address
  std::vector<std::string> ulimits;  // "nofile=1024:2048"
  std::string target, network, shm_size, isolation, provenance, sbom;
  bool no_cache = false, pull = false, privileged = false;
};

struct Service {
  std::string name;
  std::string image;  // as written; empty: none
  std::string platform;
  std::vector<std::string> profiles;
  std::vector<std::string> depends_on;
  std::optional<Build> build;
  bool active = true;  // by its profiles
  Place place;

  // What the built image is called: `image`, else <project>-<service>.
  std::string ImageName(const std::string& project) const;
};

struct Project {
  Loaded loaded;
  std::vector<Service> services;  // by name

  const Service* Find(std::string_view name) const;
};

// `profiles`: active ones beside COMPOSE_PROFILES; "*" is all. `named` services are active with all
// their profiles. kInvalid, with its place, for values that mean nothing and names of nothing.
Result<Project> MakeProject(Loaded loaded, const std::vector<std::string>& profiles,
                            const std::vector<std::string>& named);

// The services to build, those that others take files from first. `named` empty: all active ones
// with a build section. `with_dependencies`: also those that the named ones depend on. What
// additional_contexts names is always among them.
Result<std::vector<const Service*>> ServicesToBuild(const Project& project, const std::vector<std::string>& named,
                                                    bool with_dependencies);

// The variables of the service's containers: those of its `env_file`s, later ones over earlier ones, under
// `environment`. A variable there without a value has that of the project's environment. kNotFound for a file that is
// required and not there.
Result<Environment> EnvironmentOfService(const Project& project, const Service& service);

}  // namespace varve::compose
