// A subcommand: the flags it adds to the command line, and what it does.
//
// Each is one file, <name>_command.cc, and one line in commands.cc. Objects are made for one command
// line and used by one thread.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "job/global_flags.h"

namespace CLI {
class App;
}

namespace varve::cli {

class NamedWords;

class Command {
 public:
  virtual ~Command() = default;
  // Before Define: the words of the line, for a command that has many flags. Null: all are to be defined.
  void SetWords(const NamedWords* words) { words_ = words; }
  // Adds flags and, where there are some, subcommands of its own.
  virtual void Define(CLI::App& app) = 0;
  // Reads the grammars of the flags' values. Nothing is touched yet: an error is a usage error, whose
  // message and hint are all that the user sees.
  virtual Status Check() { return Ok(); }
  // Returns the exit code (job/exit_code.h). Everything that went wrong has been said on stderr.
  virtual int Run(const job::GlobalFlags& global) = 0;

 protected:
  const NamedWords* words() const { return words_; }

 private:
  const NamedWords* words_ = nullptr;
};

struct CommandEntry {
  const char* name;
  const char* alias;  // empty: none
  const char* description;
  std::unique_ptr<Command> (*make)();
};

// All subcommands, in the order of `varve --help`.
std::span<const CommandEntry> Commands();

}  // namespace varve::cli
