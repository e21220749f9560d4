// Compose files as one model: found, interpolated, included, extended, merged (reference
// compose-bake.md, A7 to A13).
//
//   LoadOptions options{.working_directory = "/src/app", .environment = EnvironmentOfProcess()};
//   TRY_ASSIGN(Loaded loaded, Load(options));
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compose/dotenv.h"
#include "compose/node.h"

namespace varve::compose {

struct LoadOptions {
  std::string working_directory;             // absolute
  std::vector<std::string> files;            // -f; "-" is standard input; empty: COMPOSE_FILE, else found
  std::map<std::string, std::string> texts;  // files that were read already, by absolute path or "-"
  std::string project_directory;             // --project-directory; empty: of the first file
  std::string project_name;                  // -p
  std::vector<std::string> env_files;        // --env-file; empty: .env
  Environment environment;                   // of the process: wins over the files
  bool interpolate = true;
};

struct Loaded {
  std::string name;                // of the project
  std::string directory;           // of the project, absolute
  std::vector<std::string> files;  // that were read, the first one first
  Environment environment;         // of the process and the env files
  Node model;                      // canonical (compose/canonical.h), merged, without include
                                   // and extends
  std::vector<std::string> warnings;
};

// kNotFound where there is no file, kInvalid with its place for what a file has wrong.
Result<Loaded> Load(const LoadOptions& options);

Environment EnvironmentOfProcess();

}  // namespace varve::compose
