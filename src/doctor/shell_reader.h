// The commands of a script with the lines that they stand on, and what those that start or clear
// builds say. Internal to the module.
//
// Not a shell: a variable stands for every value that the script gives it, so that flags which a
// condition collects are seen, marked as conditional.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "doctor/project.h"

namespace varve::doctor {

struct ShellWord {
  std::string text;
  int line = 0;
  bool conditional = false;  // came out of a variable
};

struct ScriptCommand {
  std::vector<ShellWord> words;
  int line = 0;
};

struct Script {
  std::vector<ScriptCommand> commands;
  std::map<std::string, std::vector<Argument>> variables;  // values that the script assigns, by name
};

// `first_line`: of the text in its file.
Script ReadScript(std::string_view text, int first_line);

// What a script's commands mean for the project. `defaults`: what holds for every call in it; its
// `context` is the working directory.
void ReadCommands(Project& project, const Script& script, const BuildCall& defaults);

// `path` seen from `folder`, cleaned; nothing for what leaves the project, is a URL, or has
// variables.
std::optional<std::string> ResolvePath(const std::string& folder, const std::string& path);

}  // namespace varve::doctor
