#include "dockerfile/installs_only.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "dockerfile/package_managers.h"

namespace varve::dockerfile {
namespace {

constexpr std::string_view kMarker = "varve:semantic";

bool In(std::string_view word, std::initializer_list<std::string_view> list) {
  return std::ranges::find(list, word) != list.end();
}

// Programs that read nothing of the project.
bool IsHarmless(const ShellCommand& command) {
  const std::string& name = command.name();
  if (In(name, {"set", "true", "mkdir", ":"})) return true;
  if (In(name, {"npm", "yarn", "pnpm", "pip"}) && command.words.size() > 1 && command.words[1] == "cache") return true;
  auto install = InstallOf(command);
  if (!install || install->kind != InstallKind::kNamed) return false;
  return In(install->manager->name, {"apt", "apk", "dnf", "yum", "pip"});
}

bool HasAny(const ShellCommand& command, std::initializer_list<std::string_view> flags) {
  return std::ranges::any_of(command.words, [&](const std::string& word) {
    return In(std::string_view(word).substr(0, word.find('=')), flags);
  });
}

// The manager of a command that installs what package files list, and builds nothing of the
// project.
std::string ManagerOf(const ShellCommand& command) {
  auto install = InstallOf(command);
  if (!install || install->kind != InstallKind::kManifest) return "";
  std::string_view manager = install->manager->name;
  // Other folders and workspaces: what they hold is not looked into.
  bool elsewhere = HasAny(command, {"-C", "--prefix", "--dir", "--cwd", "-w", "--workspace", "--workspaces", "--filter",
                                    "-F", "--directory", "--project", "--all-packages", "--package"});
  if (elsewhere) return "";
  if (In(manager, {"npm", "yarn", "pnpm", "bun"})) return std::string(manager);
  if (manager == "pip" || (manager == "uv" && command.Has("pip"))) return std::string(manager);
  // Without these the project itself is built and installed.
  if (manager == "uv") return HasAny(command, {"--no-install-project"}) ? "uv" : "";
  if (manager == "poetry") return HasAny(command, {"--no-root"}) ? "poetry" : "";
  if (manager == "go") return "go";
  std::string_view program = std::string_view(command.name()).substr(command.name().rfind('/') + 1);
  if (program == "mvn") {
    bool only = std::ranges::all_of(command.words.begin() + 1, command.words.end(), [](const std::string& word) {
      return word.starts_with('-') || word == "dependency:go-offline" || word == "dependency:resolve" ||
             word == "dependency:resolve-plugins";
    });
    return only ? "mvn" : "";
  }
  return "";
}

}  // namespace

std::string InstallsOnly(const Run& run) {
  if (!run.heredocs.empty() || !run.command.shell_form || run.command.args.size() != 1) return "";
  const std::string& text = run.command.args[0];
  // What is read besides: the output of commands, files, and what a pipe hands on; `||` is none.
  std::string pipes = ReplaceAll(text, "||", "");
  if (pipes.find_first_of("`<|") != pipes.npos || text.find("$(") != text.npos) return "";
  std::string manager;
  for (const ShellCommand& command : CommandsOf(run)) {
    if (IsHarmless(command)) continue;
    std::string own = ManagerOf(command);
    if (own.empty() || (!manager.empty() && own != manager)) return "";
    manager = own;
  }
  return manager;
}

bool AsksForSemantics(const CommandScope& scope) {
  if (scope.lowering().options.semantic_manifests) return true;
  return std::ranges::any_of(scope.origin().comments,
                             [](const std::string& comment) { return TrimSpace(comment) == kMarker; });
}

bool MayBeSemantic(const Lowering& lowering) {
  return lowering.options.semantic_manifests || lowering.file.source.find(kMarker) != std::string::npos;
}

}  // namespace varve::dockerfile
