// What RUN steps install, and with what: the knowledge behind the rules about caching.
//
// Costs are round figures for a middling project on a 100 Mbit/s link and two to four cores. They
// are there to set hints in proportion (a second, a minute), and give way to StepCosts
// (cache_rules.h) wherever a step has run before.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/shell_commands.h"

namespace varve::dockerfile {

struct PackageManager {
  std::string_view name;       // "npm"
  std::string_view cache_dir;  // of root, as the official images have it
  // A cache mount whose target has one of these in it is this manager's; '|' between them.
  std::string_view cache_words;
  // What a manifest install reads, '|' between them, in the order in which they are looked for.
  std::string_view manifests;
  double seconds = 0;       // an install from nothing
  double warm_seconds = 0;  // the same with everything in the cache mount
};

enum class InstallKind {
  kManifest,  // what a file of the context lists: that file is all it reads
  kNamed,     // packages named on the command line: reads nothing of the context
  kLocal,     // paths of the context or of an earlier step
  kCompile,   // builds the source: everything it reads is the project's own
};

struct Install {
  const PackageManager* manager = nullptr;
  InstallKind kind = InstallKind::kManifest;
  std::string command;                 // without its assignments, cut to a readable length: "npm ci"
  std::vector<std::string> manifests;  // named on the command line: of pip install -r FILE
  bool no_cache = false;               // was told to keep nothing: --no-cache-dir
};

// What `command` installs or compiles.
std::optional<Install> InstallOf(const ShellCommand& command);

// Seconds of a step that nothing is known of but its text.
double TypicalSeconds(const Run& run);

}  // namespace varve::dockerfile
