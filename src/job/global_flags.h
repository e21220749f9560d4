// What every command is told, and a daemon tells itself.
#pragma once

#include <string>

namespace varve::job {

// Options of every subcommand.
struct GlobalFlags {
  std::string root;  // --root, before or after the subcommand
  bool debug = false;
};

}  // namespace varve::job
