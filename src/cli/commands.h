// The subcommands' factories, one a file, for the table in commands.cc.
#pragma once

#include "cli/command.h"

namespace varve::cli {

std::unique_ptr<Command> MakeBakeCommand();
std::unique_ptr<Command> MakeBuildCommand();
std::unique_ptr<Command> MakeComposeCommand();
std::unique_ptr<Command> MakeExplainCommand();
std::unique_ptr<Command> MakeHistoryCommand();
std::unique_ptr<Command> MakeImageCommand();
std::unique_ptr<Command> MakePlanCommand();
std::unique_ptr<Command> MakeCacheCommand();
std::unique_ptr<Command> MakeCacheServerCommand();
std::unique_ptr<Command> MakeVerifyCommand();
std::unique_ptr<Command> MakeCacheMountCommand();
std::unique_ptr<Command> MakeClearCommand();
std::unique_ptr<Command> MakeDoctorCommand();
std::unique_ptr<Command> MakeDuCommand();
std::unique_ptr<Command> MakeFsckCommand();
std::unique_ptr<Command> MakePruneCommand();
std::unique_ptr<Command> MakeServeCommand();
std::unique_ptr<Command> MakeTraceCommand();
std::unique_ptr<Command> MakeVersionCommand();

}  // namespace varve::cli
