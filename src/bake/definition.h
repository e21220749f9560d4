// What a set of bake files defines: HCL, JSON and Compose files read as one (reference
// compose-bake.md, B1, B2, B8, B11).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bake/target.h"

namespace varve::bake {

struct File {
  std::string name;  // as given: "docker-bake.hcl", "-"; with a folder, where its paths may start
  std::string text;
};

struct Variable {
  std::string name, type, description;  // type: empty without one
  std::optional<std::string> value;     // of null there is none
};

struct Definition {
  std::vector<Group> groups;
  std::vector<Target> targets;
  std::vector<Variable> variables;
  std::vector<std::string> warnings;

  const Group* FindGroup(std::string_view name) const;
  const Target* FindTarget(std::string_view name) const;
};

struct ReadOptions {
  std::string working_directory;                   // absolute
  std::map<std::string, std::string> environment;  // of the process; empty when it is not to be asked
  std::map<std::string, std::string> variables;    // --var: win over the environment
  std::map<std::string, std::string> built_in;     // BAKE_CMD_CONTEXT, BAKE_LOCAL_PLATFORM: win over all
  bool file_relative_paths = false;                // BUILDX_BAKE_FILE_RELATIVE_PATHS
};

// The names that are looked for without -f, in the order in which they are merged.
const std::vector<std::string>& DefaultFileNames();

// kInvalid with file, line and column for what the files have wrong.
Result<Definition> Read(const std::vector<File>& files, const ReadOptions& options);

// "a.b" as a target's name: a_b.
std::string SanitizeName(std::string name);
// kInvalid for names with other characters than letters, digits, _ and -.
Status CheckName(std::string_view name);

}  // namespace varve::bake
