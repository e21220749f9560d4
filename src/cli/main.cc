#include <string_view>

#include "base/log.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/version.h"

int main(int argc, char** argv) {
  using namespace varve;
  // Before the flags are defined: scripts ask this often.
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    cli::ToStdout(std::string("varve ") + cli::kVersion + "\n");
    return cli::kSuccess;
  }
  auto line = cli::ParseCommandLine(argc, argv);
  if (!line) {
    cli::ToStderr("varve: " + line.error().ToString() + "\n");
    return cli::kUsage;
  }
  if (!line->command) {
    cli::ToStdout(line->message);
    return cli::kSuccess;
  }
  if (line->global.debug) SetLogLevel(LogLevel::kDebug);
  return line->command->Run(line->global);
}
