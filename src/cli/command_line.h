// The command line as a command that is ready to run.
#pragma once

#include <memory>
#include <string>

#include "cli/command.h"

namespace varve::cli {

struct CommandLine {
  job::GlobalFlags global;
  std::unique_ptr<Command> command;  // none: print `message` and leave with success
  std::string message;               // help or version
};

// A usage error is kInvalid; its message and hint are complete.
Result<CommandLine> ParseCommandLine(int argc, char** argv);

}  // namespace varve::cli
