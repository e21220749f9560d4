// What docker, buildx, Compose, podman, buildah and varve are told to build and to clear.
#include "doctor/shell_reader.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/strings.h"

namespace varve::doctor {
namespace {

// Flags that take a value as their next word. All others are switches, or have it behind '='.
const std::set<std::string_view> kBuildValues = {"-t",
                                                 "--tag",
                                                 "-f",
                                                 "--file",
                                                 "--build-arg",
                                                 "--cache-from",
                                                 "--cache-to",
                                                 "--target",
                                                 "--platform",
                                                 "--label",
                                                 "-o",
                                                 "--output",
                                                 "--secret",
                                                 "--ssh",
                                                 "--network",
                                                 "--progress",
                                                 "--builder",
                                                 "--iidfile",
                                                 "--metadata-file",
                                                 "--add-host",
                                                 "--allow",
                                                 "--attest",
                                                 "--annotation",
                                                 "--build-context",
                                                 "--cgroup-parent",
                                                 "--call",
                                                 "--no-cache-filter",
                                                 "--shm-size",
                                                 "--ulimit",
                                                 "--provenance",
                                                 "--sbom",
                                                 "-m",
                                                 "--memory",
                                                 "--set",
                                                 "--var",
                                                 "--isolation",
                                                 "--root"};
const std::set<std::string_view> kComposeValues = {
    "-f",         "--file",    "-p",         "--project-name", "--profile", "--env-file", "--project-directory",
    "--progress", "--ansi",    "--parallel", "--build-arg",    "--ssh",     "--builder",  "--rmi",
    "-t",         "--timeout", "--scale"};
const std::set<std::string_view> kDockerValues = {"-H",       "--host", "-c",          "--context",
                                                  "--config", "-l",     "--log-level", "--root"};

struct Flag {
  std::string name, value;
  int line = 0;
  bool conditional = false;
  bool has_value = false;
};

// The words of a command as flags and the rest.
struct Parsed {
  std::vector<Flag> flags;
  std::vector<ShellWord> rest;

  bool Has(std::initializer_list<std::string_view> names) const {
    return std::ranges::any_of(flags, [&](const Flag& flag) {
      return std::ranges::find(names, flag.name) != names.end() && flag.value != "false";
    });
  }
};

Parsed ParseWords(const std::vector<ShellWord>& words, size_t from, const std::set<std::string_view>& values) {
  Parsed out;
  for (size_t i = from; i < words.size(); ++i) {
    const ShellWord& word = words[i];
    if (!word.text.starts_with('-') || word.text == "-") {
      out.rest.push_back(word);
      continue;
    }
    size_t equals = word.text.find('=');
    Flag flag{.name = word.text.substr(0, equals), .line = word.line, .conditional = word.conditional};
    if (equals != std::string::npos) {
      flag.value = word.text.substr(equals + 1);
      flag.has_value = true;
    } else if (values.contains(flag.name) && i + 1 < words.size()) {
      flag.value = words[++i].text;
      flag.line = words[i].line;
      flag.has_value = true;
    } else if (!flag.name.starts_with("--") && flag.name.size() > 2) {
      // -af: switches in one word.
      for (char c : flag.name.substr(1)) out.flags.push_back({std::string("-") + c, "", word.line});
      continue;
    }
    out.flags.push_back(std::move(flag));
  }
  return out;
}

std::string Shortened(const ScriptCommand& command) {
  std::string text;
  for (const ShellWord& word : command.words) text += (text.empty() ? "" : " ") + word.text;
  constexpr size_t kLongest = 60;
  return text.size() > kLongest ? text.substr(0, kLongest) + "…" : text;
}

void AddBuild(Project& project, const ScriptCommand& command, const Parsed& parsed, const BuildCall& defaults) {
  BuildCall call = defaults;
  call.line = command.line;
  if (call.name.empty()) call.name = "this command";
  std::string file;
  for (const Flag& flag : parsed.flags) {
    if (flag.name == "-t" || flag.name == "--tag") call.tags.push_back(flag.value);
    if (flag.name == "-f" || flag.name == "--file") file = flag.value;
    if (flag.name == "--target") call.target = flag.value;
    if (flag.name == "--push") call.push = true;
    if (flag.name == "--pull" && flag.value != "false") call.pull = true;
    if (flag.name == "--no-cache" && flag.value != "false") {
      call.no_cache_line = flag.line;
      call.no_cache_always = !flag.conditional && flag.value.find('$') == flag.value.npos;
    }
    if (flag.name == "--force-rm") {
      project.mentions.push_back({Mention::Kind::kForceRm, call.file, flag.line, {}});
    }
    if (flag.name == "--cache-from") call.from.push_back(ParseCacheEntry(flag.value, flag.line));
    if (flag.name == "--cache-to") call.to.push_back(ParseCacheEntry(flag.value, flag.line));
    if (flag.name == "--platform") {
      for (std::string& platform : Split(flag.value, ',')) call.platforms.push_back(std::move(platform));
    }
    if (flag.name == "--build-arg") {
      size_t equals = flag.value.find('=');
      // A name alone takes its value from the environment.
      std::string value = equals == flag.value.npos ? "" : flag.value.substr(equals + 1);
      call.args.push_back({flag.value.substr(0, equals), std::move(value), flag.line});
    }
  }
  if (parsed.rest.empty()) return;
  std::string context = parsed.rest.back().text;
  auto folder = ResolvePath(defaults.context, context);
  call.context_known = folder.has_value();
  call.context = folder.value_or(context);
  // -f is seen from the working directory, the default from the context.
  if (file.empty()) {
    call.dockerfile = call.context.empty() ? "Dockerfile" : call.context + "/Dockerfile";
  } else {
    call.dockerfile = ResolvePath(defaults.context, file).value_or(file);
  }
  project.calls.push_back(std::move(call));
}

// `docker compose build`, `docker buildx bake`: the calls of other files.
void AddStart(Project& project, const ScriptCommand& command, const Parsed& parsed, FileKind kind,
              const BuildCall& defaults) {
  BuildCall call = defaults;
  call.line = command.line;
  call.name = Shortened(command);
  call.starts = kind;
  for (const Flag& flag : parsed.flags) {
    if (flag.name == "-f" || flag.name == "--file") {
      if (auto path = ResolvePath(defaults.context, flag.value)) call.start_files.push_back(*path);
    }
    if (flag.name == "--pull") call.pull = true;
    if (flag.name == "--push") call.push = true;
    if (flag.name == "--no-cache" && flag.value != "false") {
      call.no_cache_line = flag.line;
      call.no_cache_always = !flag.conditional;
    }
    if (flag.name == "--force-rm") {
      project.mentions.push_back({Mention::Kind::kForceRm, call.file, flag.line, {}});
    }
    if (flag.name == "--set") {
      size_t equals = flag.value.find('=');
      std::string key = flag.value.substr(0, equals);
      std::string value = equals == flag.value.npos ? "" : flag.value.substr(equals + 1);
      if (key.ends_with(".cache-from") || key.ends_with(".cache-from+"))
        call.from.push_back(ParseCacheEntry(value, flag.line));
      if (key.ends_with(".cache-to") || key.ends_with(".cache-to+"))
        call.to.push_back(ParseCacheEntry(value, flag.line));
    }
  }
  for (const ShellWord& word : parsed.rest) {
    if (word.text.find('$') == word.text.npos) call.start_names.push_back(word.text);
  }
  project.calls.push_back(std::move(call));
}

void AddClear(Project& project, const ScriptCommand& command, const Parsed& parsed, std::string what,
              const BuildCall& defaults) {
  ClearCall clear{.file = defaults.file, .line = command.line, .what = std::move(what)};
  clear.all = parsed.Has({"-a", "--all"});
  clear.forced = parsed.Has({"-f", "--force", "-y", "--yes"});
  clear.rmi = parsed.Has({"--rmi"});
  clear.volumes = parsed.Has({"--volumes", "-v"});
  clear.command = Shortened(command);
  project.clears.push_back(std::move(clear));
}

// `docker compose …`, `docker-compose …`, `varve compose …`; the words behind the program's name.
void ReadComposeCommand(Project& project, const ScriptCommand& command, size_t from, const BuildCall& defaults) {
  Parsed parsed = ParseWords(command.words, from, kComposeValues);
  if (parsed.rest.empty()) return;
  std::string verb = parsed.rest[0].text;
  parsed.rest.erase(parsed.rest.begin());
  if (verb == "build") return AddStart(project, command, parsed, FileKind::kCompose, defaults);
  if (verb == "up" || verb == "create" || verb == "run") {
    bool build = parsed.Has({"--build"});
    if (build) AddStart(project, command, parsed, FileKind::kCompose, defaults);
    if (!build && parsed.Has({"--force-recreate"})) {
      project.mentions.push_back({Mention::Kind::kForceRecreate, defaults.file, command.line, Shortened(command)});
    }
  }
  if (verb == "down" && parsed.Has({"--rmi"})) AddClear(project, command, parsed, "compose down", defaults);
}

void ReadDocker(Project& project, const ScriptCommand& command, const BuildCall& defaults) {
  // `docker --host x build`: the program's own flags come first.
  size_t at = 1;
  while (at < command.words.size() && command.words[at].text.starts_with('-')) {
    at += kDockerValues.contains(command.words[at].text) ? 2 : 1;
  }
  auto word = [&](size_t i) { return i < command.words.size() ? command.words[i].text : std::string(); };
  std::string verb = word(at);
  if (verb == "buildx" || verb == "builder" || verb == "image") {
    std::string inner = word(at + 1);
    if (inner == "build" || inner == "b") {
      AddBuild(project, command, ParseWords(command.words, at + 2, kBuildValues), defaults);
    } else if (inner == "bake" || inner == "f") {
      AddStart(project, command, ParseWords(command.words, at + 2, kBuildValues), FileKind::kBake, defaults);
    } else if (inner == "prune" || inner == "rm") {
      std::string what = inner == "rm" ? (verb == "image" ? "rmi" : "") : verb + " prune";
      if (verb == "buildx") what = inner == "prune" ? "builder prune" : "";
      if (!what.empty())
        AddClear(project, command, ParseWords(command.words, at + 2, {"--filter", "--keep-storage"}), what, defaults);
    }
  } else if (verb == "build" || verb == "bud") {
    AddBuild(project, command, ParseWords(command.words, at + 1, kBuildValues), defaults);
  } else if (verb == "compose") {
    ReadComposeCommand(project, command, at + 1, defaults);
  } else if (verb == "system" && word(at + 1) == "prune") {
    AddClear(project, command, ParseWords(command.words, at + 2, {"--filter"}), "system prune", defaults);
  } else if (verb == "rmi") {
    AddClear(project, command, ParseWords(command.words, at + 1, {}), "rmi", defaults);
  }
}

void ReadVarve(Project& project, const ScriptCommand& command, BuildCall defaults) {
  defaults.by_varve = true;
  size_t at = 1;
  while (at < command.words.size() && command.words[at].text.starts_with('-')) {
    at += kDockerValues.contains(command.words[at].text) ? 2 : 1;
  }
  if (at >= command.words.size()) return;
  const std::string& verb = command.words[at].text;
  if (verb == "build" || verb == "b") {
    AddBuild(project, command, ParseWords(command.words, at + 1, kBuildValues), defaults);
  } else if (verb == "bake") {
    AddStart(project, command, ParseWords(command.words, at + 1, kBuildValues), FileKind::kBake, defaults);
  } else if (verb == "compose") {
    ReadComposeCommand(project, command, at + 1, defaults);
  } else if (verb == "clear") {
    AddClear(project, command, ParseWords(command.words, at + 1, {}), "clear", defaults);
  }
}

bool IsCacheFolder(std::string_view word) {
  return word.find("buildx-cache") != word.npos || word.find("docker-cache") != word.npos ||
         word.find("buildkit-cache") != word.npos || word.find("build-cache") != word.npos;
}

}  // namespace

std::optional<std::string> ResolvePath(const std::string& folder, const std::string& path) {
  if (path.empty() || path[0] == '/' || path == "-" || path[0] == '~') return std::nullopt;
  if (path.find("://") != path.npos || path.find('$') != path.npos || path.find('{') != path.npos) {
    return std::nullopt;
  }
  std::vector<std::string> parts;
  for (const std::string& part : Split(folder + "/" + path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (parts.empty()) {
      return std::nullopt;
    } else {
      parts.pop_back();
    }
  }
  return Join(parts, "/");
}

void ReadCommands(Project& project, const Script& script, const BuildCall& defaults) {
  BuildCall here = defaults;
  for (const ScriptCommand& command : script.commands) {
    std::string program = command.words[0].text;
    program = program.substr(program.rfind('/') + 1);
    if (program == "cd" || program == "pushd") {
      // A folder that is not known: so is every context from here on.
      std::string to = command.words.size() > 1 ? command.words[1].text : "";
      bool own = to.find("dirname") != to.npos || to.find("BASH_SOURCE") != to.npos;
      if (!own) here.context = ResolvePath(here.context, to).value_or(here.context);
    } else if (program == "docker" || program == "podman" || program == "nerdctl" || program == "buildah") {
      ReadDocker(project, command, here);
    } else if (program == "docker-compose" || program == "podman-compose") {
      ReadComposeCommand(project, command, 1, here);
    } else if (program == "varve") {
      ReadVarve(project, command, here);
    } else if (program == "mv" && command.words.size() >= 3) {
      bool cache = std::ranges::any_of(command.words, [](const ShellWord& word) { return IsCacheFolder(word.text); });
      if (cache) {
        project.mentions.push_back({Mention::Kind::kMoveCache, here.file, command.line, Shortened(command)});
      }
    }
  }
}

// `FORCE_REBUILD=1 ./deploy.sh` promises something: a switch that the script names in its help or
// sets to a default, and then never asks for.
static void FindUnusedSwitches(Project& project, const SourceFile& file, const Script& script) {
  static constexpr std::array<std::string_view, 8> kSwitches = {"FORCE_REBUILD", "FORCE_BUILD",  "NO_CACHE",
                                                                "NOCACHE",       "CLEAR_CACHE",  "CLEAN_CACHE",
                                                                "CLEAN_BUILD",   "REBUILD_CACHE"};
  for (const auto& [name, values] : script.variables) {
    if (std::ranges::find(kSwitches, name) == kSwitches.end()) continue;
    bool exported = false, read = false;
    for (const std::string& line : file.lines) {
      if (TrimSpace(line).starts_with('#')) continue;
      if (line.find("export " + name) != line.npos) exported = true;
      for (size_t at = line.find(name); at != line.npos; at = line.find(name, at + 1)) {
        bool dollar = at > 0 && (line[at - 1] == '$' ||
                                 ((line[at - 1] == '{' || line[at - 1] == '(') && at > 1 && line[at - 2] == '$'));
        // NAME=${NAME:-0} only gives a default.
        bool own_default = TrimSpace(line).starts_with(name + "=");
        if (dollar && !own_default) read = true;
      }
    }
    bool passed_on =
        exported || std::ranges::any_of(script.commands, [&](const ScriptCommand& command) {
          return command.words[0].text == "make" || command.words[0].text == "source" || command.words[0].text == ".";
        });
    if (!read && !passed_on) {
      project.mentions.push_back({Mention::Kind::kUnusedSwitch, &file, values[0].line, name});
    }
  }
}

void ReadShell(Project& project, const SourceFile& file) {
  std::string name = file.path.substr(file.path.rfind('/') + 1);
  std::string text = file.text;
  bool make = name == "Makefile" || name == "makefile" || name == "GNUmakefile" || name.ends_with(".mk");
  if (make) {
    // Recipes as a script, line by line so that places stay right: @ and - in front go, $$ is $.
    text.clear();
    for (std::string line : file.lines) {
      if (line.starts_with('\t')) {
        size_t start = line.find_first_not_of("\t @-+");
        line = start == line.npos ? "" : ReplaceAll(line.substr(start), "$$", "$");
      } else if (line.find('=') == line.npos) {
        line.clear();  // a rule's head is no command
      } else if (line.starts_with("export ")) {
        line = line.substr(7);
      }
      text += line + "\n";
    }
  }
  Script script = ReadScript(text, 1);
  BuildCall defaults{.file = &file};
  // A script is mostly started from the top of the project, or goes to its own folder first. Where
  // the Dockerfile is not where that says, its own folder is tried.
  size_t before = project.calls.size();
  ReadCommands(project, script, defaults);
  for (size_t i = before; i < project.calls.size(); ++i) {
    BuildCall& call = project.calls[i];
    if (call.starts || !call.context_known || project.Find(call.dockerfile) != nullptr) continue;
    auto moved = [&](const std::string& path) { return ResolvePath(file.Folder(), path.empty() ? "." : path); };
    if (auto dockerfile = moved(call.dockerfile); dockerfile && project.Find(*dockerfile) != nullptr) {
      call.dockerfile = *dockerfile;
      call.context = moved(call.context).value_or(call.context);
    }
  }
  if (!make) FindUnusedSwitches(project, file, script);
}

}  // namespace varve::doctor
