// `varve serve`: becomes varved, the daemon, which is a program of its own so that a build by `varve` loads
// nothing of gRPC (its start would take five times as long).
#include "cli/serve_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <climits>

#include "cli/commands.h"
#include "job/console.h"
#include "job/exit_code.h"

namespace varve::cli {

namespace {

// Beside this program, or where packages put what is no command.
std::vector<std::string> Candidates() {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
  std::string directory(self, n > 0 ? static_cast<size_t>(n) : 0);
  directory.resize(std::min(directory.size(), directory.rfind('/')));
  return {directory + "/varved", directory + "/../libexec/varve/varved"};
}

// Reached where options stand before the subcommand, and for --help of all: main takes the usual line. Arguments are
// varved's to read.
class ServeCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app_ = &app;
    app.fallthrough(false)->prefix_command();
  }
  Status Check() override {
    rest_ = app_->remaining();
    return Ok();
  }
  int Run(const job::GlobalFlags& global) override {
    std::vector<std::string> arguments;
    if (!global.root.empty()) arguments = {"--root", global.root};
    if (global.debug) arguments.push_back("--debug");
    arguments.insert(arguments.end(), rest_.begin(), rest_.end());
    return BecomeDaemon(std::move(arguments));
  }

 private:
  CLI::App* app_ = nullptr;  // until Check
  std::vector<std::string> rest_;
};

}  // namespace

int BecomeDaemon(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "varved");
  std::vector<char*> argv;
  for (std::string& word : arguments) argv.push_back(word.data());
  argv.push_back(nullptr);
  for (const std::string& path : Candidates()) {
    execv(path.c_str(), argv.data());
    if (errno == ENOENT) continue;
    job::PrintCommandError(ErrnoError(errno, "start " + path));
    return job::kBuildFailed;
  }
  Error error = NotFound("varve serve needs the program varved, which is not beside this one");
  error.hint = "it is built and installed together with varve: make install";
  job::PrintCommandError(error);
  return job::kBuildFailed;
}

std::unique_ptr<Command> MakeServeCommand() { return std::make_unique<ServeCommand>(); }

}  // namespace varve::cli
