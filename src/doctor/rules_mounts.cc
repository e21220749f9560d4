// Rules about RUN --mount=type=cache.
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "dockerfile/package_managers.h"
#include "dockerfile/run_mount.h"
#include "doctor/pass.h"

namespace varve::doctor {

using dockerfile::Install;
using dockerfile::Instruction;
using dockerfile::Mount;
using dockerfile::Run;
using dockerfile::ShellCommand;

namespace {

struct Step {
  const SourceFile* file;
  const Instruction* instruction;
  std::vector<ShellCommand> commands;
  std::vector<Mount> caches;

  int line() const { return instruction->origin.span.start_line; }
};

std::vector<Step> StepsWithCaches(const Project& project) {
  std::vector<Step> out;
  auto as_written = [](std::string_view word) -> Result<std::string> { return std::string(word); };
  for (const auto& file : project.files) {
    if (!file->dockerfile) continue;
    for (const dockerfile::Stage& stage : file->dockerfile->stages) {
      for (const Instruction& instruction : stage.instructions) {
        const Run* run = std::get_if<Run>(&instruction.body);
        if (run == nullptr) continue;
        Step step{file.get(), &instruction, dockerfile::CommandsOf(*run), {}};
        for (const std::string& value : run->mounts) {
          auto mount = dockerfile::ParseMount(value, as_written);
          if (mount && mount->type == dockerfile::MountType::kCache) step.caches.push_back(std::move(*mount));
        }
        if (!step.caches.empty()) out.push_back(std::move(step));
      }
    }
  }
  return out;
}

Finding& AddAt(Pass& pass, std::string_view rule, const Step& step) {
  Finding& finding = pass.Add(rule, *step.file, step.line());
  finding.span.end_line = step.instruction->origin.span.end_line;
  return finding;
}

// The physical line of the step on which `text` stands.
int LineWith(const Step& step, std::string_view text) {
  const dockerfile::Span& span = step.instruction->origin.span;
  for (int line = span.start_line; line <= span.end_line; ++line) {
    if (step.file->lines[static_cast<size_t>(line - 1)].find(text) != std::string::npos) return line;
  }
  return 0;
}

bool IsApt(const Mount& mount) {
  return mount.target.starts_with("/var/cache/apt") || mount.target.starts_with("/var/lib/apt");
}

bool RunsApt(const Step& step) {
  return std::ranges::any_of(step.commands, [](const ShellCommand& command) {
    return command.name() == "apt-get" || command.name() == "apt";
  });
}

void CheckLocked(Pass& pass, const Step& step) {
  if (!RunsApt(step)) return;
  Fix fix{.file = step.file->path};
  std::vector<std::string> targets;
  bool fixable = true;
  for (const Mount& mount : step.caches) {
    if (!IsApt(mount) || mount.sharing.value_or(dockerfile::MountSharing::kShared) != dockerfile::MountSharing::kShared)
      continue;
    targets.push_back(mount.target);
    int line = LineWith(step, "target=" + mount.target);
    std::string written = "target=" + mount.target;
    std::string* text = nullptr;
    for (Edit& edit : fix.edits) {
      if (edit.first == line) text = &edit.lines[0];
    }
    if (line == 0) {
      fixable = false;
      continue;
    }
    if (text == nullptr) {
      fix.edits.push_back({line, line, {step.file->lines[static_cast<size_t>(line - 1)]}});
      text = &fix.edits.back().lines[0];
    }
    size_t at = text->find(written);
    bool whole = at != text->npos && text->find("sharing=") == text->npos &&
                 (at + written.size() == text->size() ||
                  std::string_view(" ,\\").find((*text)[at + written.size()]) != std::string_view::npos);
    // "target=/var/cache/apt" is not to be found in "target=/var/cache/apt/archives". A second
    // mount on one line has had its neighbour's sharing= put in: it is inserted all the same.
    bool neighbour = at != text->npos && targets.size() > 1;
    if (!whole && !neighbour) fixable = false;
    if (at != text->npos) text->insert(at + written.size(), ",sharing=locked");
  }
  if (targets.empty()) return;
  Finding& finding = AddAt(pass, "CacheMountNotLocked", step);
  finding.reason = fmt::format(
      "apt locks {}, and a second build that has it mounted at the same moment fails with \"Could "
      "not "
      "get lock\"",
      Join(targets, " and "));
  finding.remedy = "let one step at a time have it";
  for (const std::string& target : targets) {
    finding.text.push_back("--mount=type=cache,target=" + target + ",sharing=locked");
  }
  if (fixable) finding.fix = std::move(fix);
}

void CheckDockerClean(Pass& pass, const Step& step) {
  bool mounted =
      std::ranges::any_of(step.caches, [](const Mount& mount) { return mount.target.starts_with("/var/cache/apt"); });
  bool installs = std::ranges::any_of(step.commands, [](const ShellCommand& command) {
    return (command.name() == "apt-get" || command.name() == "apt") && command.Has("install");
  });
  if (!mounted || !installs) return;
  const std::string& text = step.file->text;
  if (text.find("docker-clean") != text.npos || text.find("Keep-Downloaded-Packages") != text.npos) return;
  Finding& finding = AddAt(pass, "AptCacheThrownAway", step);
  finding.reason =
      "Debian's and Ubuntu's images remove every package right after its installation "
      "(/etc/apt/apt.conf.d/docker-clean): "
      "the mount on /var/cache/apt stays empty";
  finding.remedy = "take that rule away above this step";
  finding.text = {"RUN rm -f /etc/apt/apt.conf.d/docker-clean"};
  finding.cost = {.seconds = 5};
  Edit edit{step.line(), step.line() - 1, finding.text};
  finding.fix = Fix{.file = step.file->path, .edits = {std::move(edit)}, .changes_image = true};
}

// How a command empties or turns off a cache that is mounted; empty: it does not.
struct Emptied {
  std::string words;  // as written: "--no-cache-dir", "apt-get clean"
  std::string target;
  bool flag = false;  // one word that can be taken out
};
std::optional<Emptied> EmptiedBy(const ShellCommand& command, const std::vector<Mount>& caches) {
  auto mounted = [&](std::string_view part) -> const Mount* {
    for (const Mount& mount : caches) {
      if (mount.target.find(part) != std::string::npos) return &mount;
    }
    return nullptr;
  };
  auto has = [&](std::string_view word) { return command.Has(word); };
  const std::string& name = command.name();
  std::string program = name.substr(name.rfind('/') + 1);
  bool pip = program.starts_with("pip") || (program.starts_with("python") && has("pip"));
  auto found = [](const Mount* mount, std::string words, bool flag = false) -> std::optional<Emptied> {
    if (mount == nullptr) return std::nullopt;
    return Emptied{std::move(words), mount->target, flag};
  };
  // /root/.cache holds pip's and uv's.
  auto cache_of = [&](std::string_view part) { return mounted(part) != nullptr ? mounted(part) : mounted("/.cache"); };
  if (pip && has("--no-cache-dir")) return found(cache_of("pip"), "--no-cache-dir", true);
  if (program == "uv" && has("--no-cache")) return found(cache_of("uv"), "--no-cache", true);
  if (program == "poetry" && has("--no-cache")) return found(cache_of("poetry"), "--no-cache", true);
  if (program == "apk" && has("--no-cache")) return found(mounted("/apk"), "--no-cache", true);
  if ((program == "apt-get" || program == "apt") && has("clean"))
    return found(mounted("/var/cache/apt"), program + " clean");
  if ((program == "dnf" || program == "yum" || program == "microdnf") && has("clean")) {
    return found(mounted("/var/cache"), program + " clean");
  }
  if ((program == "npm" || program == "yarn") && has("cache") && has("clean")) {
    return found(mounted(program == "npm" ? ".npm" : "yarn"), program + " cache clean");
  }
  if (pip && has("cache") && has("purge")) return found(cache_of("pip"), "pip cache purge");
  if (program == "go" && has("clean")) return found(mounted("go"), "go clean");
  if (program == "rm") {
    for (const std::string& word : command.words) {
      if (!word.starts_with('/')) continue;
      std::string path = word;
      while (path.ends_with('*') || path.ends_with('/')) path.pop_back();
      for (const Mount& mount : caches) {
        if (path == mount.target || path.starts_with(mount.target + "/")) return Emptied{"rm " + word, mount.target};
      }
    }
  }
  return std::nullopt;
}

void CheckEmptied(Pass& pass, const Step& step) {
  for (const ShellCommand& command : step.commands) {
    auto emptied = EmptiedBy(command, step.caches);
    if (!emptied) continue;
    Finding& finding = AddAt(pass, "CacheMountEmptied", step);
    finding.reason = emptied->flag ? fmt::format("{} has {} mounted, and {} tells it not to use it", command.name(),
                                                 emptied->target, emptied->words)
                                   : fmt::format(
                                         "\"{}\" empties {}, which is mounted to be kept: what a "
                                         "mount holds is no part of the image",
                                         emptied->words, emptied->target);
    finding.remedy = emptied->flag ? "drop the flag: what a mount holds is no part of the image" : "leave it out";
    if (auto install = dockerfile::InstallOf(command)) {
      finding.cost.seconds = install->manager->seconds - install->manager->warm_seconds;
    }
    if (emptied->flag) {
      finding.fix = ReplaceInLine(*step.file, LineWith(step, emptied->words), " " + emptied->words, "");
    } else if (emptied->words.starts_with("rm ")) {
      std::string tail = " && rm -rf " + emptied->words.substr(3);
      int line = LineWith(step, tail);
      const std::string& text = line == 0 ? tail : step.file->lines[static_cast<size_t>(line - 1)];
      if (line != 0 && text.ends_with(tail)) finding.fix = ReplaceInLine(*step.file, line, tail, "");
    }
    return;
  }
}

// What all steps with one manager's cache under one name share.
struct Shared {
  std::map<std::string, std::vector<std::pair<const Step*, const Mount*>>> ids;
  const dockerfile::PackageManager* manager = nullptr;
};

void CheckDiffer(Pass& pass, const std::vector<Step>& steps) {
  std::map<std::string, Shared> groups;
  for (const Step& step : steps) {
    for (const ShellCommand& command : step.commands) {
      auto install = dockerfile::InstallOf(command);
      if (!install || install->kind == dockerfile::InstallKind::kCompile) continue;
      for (const Mount& mount : step.caches) {
        std::string last = mount.target.substr(mount.target.rfind('/') + 1);
        bool own = std::ranges::any_of(Split(install->manager->cache_words, '|'), [&](const std::string& word) {
          return mount.target.find(word) != std::string::npos;
        });
        std::string id = mount.id.empty() ? mount.target : mount.id;
        bool known =
            id.find('$') == id.npos && mount.target.starts_with('/') && last != "node_modules" && last != "target";
        if (!own || !known) continue;
        // Homes differ, system folders do not: /root/.npm and /home/node/.npm hold the same.
        bool system = mount.target.starts_with("/var/");
        Shared& group = groups[std::string(install->manager->name) + " " + (system ? mount.target : last)];
        group.manager = install->manager;
        auto& places = group.ids[id];
        if (places.empty() || places.back().first != &step) places.emplace_back(&step, &mount);
      }
    }
  }
  for (const auto& [name, group] : groups) {
    if (group.ids.size() < 2) continue;
    // What most steps use is what the others should; of two, the one that is a name.
    auto common = std::ranges::max_element(group.ids, [](const auto& a, const auto& b) {
      return std::pair(a.second.size(), !a.first.starts_with('/')) <
             std::pair(b.second.size(), !b.first.starts_with('/'));
    });
    for (const auto& [id, places] : group.ids) {
      if (id == common->first) continue;
      const auto& [step, mount] = places[0];
      Finding& finding = AddAt(pass, "CacheMountsDiffer", *step);
      const Step* other = common->second[0].first;
      finding.reason = fmt::format(
          "{} keeps its cache in \"{}\" here and in \"{}\" in {}:{}: what one downloads, the other "
          "downloads again",
          group.manager->name, id, common->first, other->file->path, other->line());
      finding.remedy = "give both one id";
      finding.text = {fmt::format("--mount=type=cache,target={},id={}", mount->target, common->first)};
      finding.cost = {.seconds = group.manager->seconds - group.manager->warm_seconds};
    }
  }
}

}  // namespace

void CheckMounts(Pass& pass) {
  std::vector<Step> steps = StepsWithCaches(pass.project);
  for (const Step& step : steps) {
    CheckLocked(pass, step);
    CheckDockerClean(pass, step);
    CheckEmptied(pass, step);
  }
  CheckDiffer(pass, steps);
}

}  // namespace varve::doctor
