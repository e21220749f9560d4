#include "cli/commands.h"

#include "job/console.h"
#include "job/exit_code.h"
#include "job/version.h"

namespace varve::cli {

namespace {

class VersionCommand final : public Command {
 public:
  void Define(CLI::App&) override {}
  int Run(const job::GlobalFlags&) override {
    job::ToStdout(std::string("varve ") + job::kVersion + "\n");
    return job::kSuccess;
  }
};

constexpr CommandEntry kCommands[] = {
    {"build", "b", "Build an image from a Dockerfile", MakeBuildCommand},
    {"bake", "", "Build the targets of bake files as one graph", MakeBakeCommand},
    {"compose", "", "Build the services of Compose files, or show what the files say", MakeComposeCommand},
    {"plan", "", "Say what a build would run, why, and how long it would take", MakePlanCommand},
    {"explain", "", "Say why steps of a build ran", MakeExplainCommand},
    {"history", "", "List, inspect, replay and trace builds", MakeHistoryCommand},
    {"trace", "", "List what a step looked at in the files that it was given", MakeTraceCommand},
    {"verify", "", "Prove that the cached image is what a build without cache gives", MakeVerifyCommand},
    {"doctor", "", "Say what keeps the cache of a project from working", MakeDoctorCommand},
    {"image", "images", "List, inspect and remove the images that builds have named", MakeImageCommand},
    {"du", "", "Show what the cache takes on the disk", MakeDuCommand},
    {"prune", "", "Remove what is worth least, or what matches", MakePruneCommand},
    {"clear", "", "Remove everything that could make a build faster", MakeClearCommand},
    {"cache", "", "Look into caches that travel, check, copy and shrink them", MakeCacheCommand},
    {"cache-mount", "", "List, copy and remove the directories of RUN --mount=type=cache", MakeCacheMountCommand},
    {"fsck", "", "Check what is stored, and mend it", MakeFsckCommand},
    {"cache-server", "", "Serve GitHub's cache protocol from this machine", MakeCacheServerCommand},
    {"serve", "", "Be a BuildKit daemon for docker buildx, buildctl and bake", MakeServeCommand},
    {"version", "", "Print the version", MakeVersionCommand},
};

}  // namespace

std::unique_ptr<Command> MakeVersionCommand() { return std::make_unique<VersionCommand>(); }

std::span<const CommandEntry> Commands() { return kCommands; }

}  // namespace varve::cli
