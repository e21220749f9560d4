// Rules about steps that install: where they stand, what they keep, what they leave behind.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/strings.h"
#include "dockerfile/cache_pass.h"

namespace varve::dockerfile {
namespace {

// An apt-get update of Debian 12 or Ubuntu 24.04, an apk index, metadata of dnf.
constexpr uint64_t kAptLists = 20'000'000;
constexpr uint64_t kApkIndex = 2'500'000;
constexpr uint64_t kDnfMetadata = 100'000'000;

bool MentionsAny(std::string_view text, std::string_view words) {
  return std::ranges::any_of(Split(words, '|'), [&](const std::string& word) { return text.find(word) != text.npos; });
}

// The value of a key of a --mount; the parser has checked the CSV.
std::string MountValue(const std::string& mount, std::initializer_list<std::string_view> keys) {
  auto fields = ParseCsvRecord(mount);
  if (!fields) return "";
  for (const std::string& field : *fields) {
    size_t equals = field.find('=');
    std::string key = ToLower(field.substr(0, equals));
    if (std::ranges::find(keys, key) == keys.end()) continue;
    return equals == field.npos ? "" : field.substr(equals + 1);
  }
  return "";
}

std::string MountType(const std::string& mount) {
  std::string type = MountValue(mount, {"type"});
  return type.empty() ? "bind" : type;
}

std::string MountTarget(const std::string& mount) { return MountValue(mount, {"target", "dst", "destination"}); }

// RUN --mount=target=. : the step reads the whole context, whatever it does with it.
const std::string* WholeContextMount(const Run& run) {
  for (const std::string& mount : run.mounts) {
    bool whole = MountType(mount) == "bind" && MountValue(mount, {"from"}).empty();
    std::string source = MountValue(mount, {"source", "src"});
    if (whole && (source.empty() || source == "." || source == "/")) return &mount;
  }
  return nullptr;
}

// --- InstallBelowCopyAll ---------------------------------------------------------------------

// Where the step installs: "web" of `cd web && npm ci`; empty where it stays, or goes where the context does not show.
std::string FolderOf(const RunFacts& facts) {
  if (facts.commands.empty() || facts.commands[0].name() != "cd" || facts.commands[0].words.size() != 2) return "";
  std::string folder = facts.commands[0].words[1];
  while (folder.starts_with("./")) folder.erase(0, 2);
  while (folder.ends_with('/')) folder.pop_back();
  bool beyond = folder.starts_with('/') || folder.starts_with('.') || folder.find_first_of("$~") != folder.npos;
  return beyond ? "" : folder;
}

// What of a manager's manifests lies in the folder of the context; all that can be, when nothing is known of it.
std::vector<std::string> ManifestsOf(const CachePass& pass, const Install& install, const std::string& folder) {
  if (!install.manifests.empty()) return install.manifests;
  std::vector<std::string> candidates = Split(install.manager->manifests, '|');
  std::erase(candidates, "");
  if (install.manager->name == "dotnet") candidates = {"*.csproj"};
  if (pass.input.context == nullptr) return candidates;
  std::vector<std::string> present;
  auto entries = pass.input.context->List(folder);
  for (const std::string& name : candidates) {
    bool here = std::ranges::any_of(entries, [&](const auto& entry) { return entry.name == name; });
    if (here) present.push_back(name);
  }
  return present.empty() ? candidates : present;
}

// The stage's state while it is walked; a stage starts with that of its base.
struct Walk {
  const Instruction* copy_all = nullptr;
  std::set<std::string_view> installed;  // managers that ran above copy_all
};

// Whether the step does nothing but install: what is around it prepares or cleans up.
bool OnlyInstalls(const RunFacts& facts) {
  static constexpr std::array<std::string_view, 12> kAround = {"set", "rm",       "apt-get", "apt",   "apk", "dnf",
                                                               "yum", "microdnf", "echo",    "mkdir", "cd",  "true"};
  return std::ranges::all_of(facts.commands, [](const ShellCommand& command) {
    return InstallOf(command) || std::ranges::find(kAround, command.name()) != kAround.end();
  });
}

HintCost InstallCost(const CachePass& pass, const Instruction& instruction, const RunFacts& facts) {
  if (OnlyInstalls(facts)) return pass.CostOf(instruction.origin, std::get<Run>(instruction.body));
  HintCost cost;
  for (const Install& install : facts.installs) {
    bool early = install.kind == InstallKind::kManifest || install.kind == InstallKind::kNamed;
    if (early) cost.seconds += install.manager->seconds;
  }
  return cost;
}

void CheckOrder(CachePass& pass, const Instruction& instruction, const RunFacts& facts, const Walk& walk) {
  const Run& run = std::get<Run>(instruction.body);
  const std::string* mount = WholeContextMount(run);
  if (walk.copy_all == nullptr && mount == nullptr) return;
  for (const Install& install : facts.installs) {
    bool early = install.kind == InstallKind::kManifest || install.kind == InstallKind::kNamed;
    // What came first installed nearly everything; this adds the project itself.
    bool second = install.kind == InstallKind::kManifest && walk.installed.contains(install.manager->name);
    if (!early || second) continue;
    std::string where = walk.copy_all != nullptr ? fmt::format("line {} copies the whole context above it",
                                                               walk.copy_all->origin.span.start_line)
                                                 : "it mounts the whole context";
    CacheHint hint{.rule = CacheRule::kInstallBelowCopyAll};
    hint.reason = fmt::format("\"{}\" runs again after a change of any file, unless it is traced, because {}",
                              install.command, where);
    hint.cost = InstallCost(pass, instruction, facts);
    if (install.kind == InstallKind::kNamed) {
      int line = walk.copy_all != nullptr ? walk.copy_all->origin.span.start_line : 0;
      if (line == 0) {
        hint.remedy = "give this command a RUN of its own, without the mount";
      } else if (OnlyInstalls(facts)) {
        hint.remedy = fmt::format("put this step above line {}: it reads nothing of the context", line);
        // What stands in between may be what it needs.
        if (walk.copy_all->origin.span.end_line + 1 == instruction.origin.span.start_line) hint.move_above = line;
      } else {
        hint.remedy = fmt::format("install in a RUN of its own above line {}", line);
      }
    } else {
      hint.remedy = "copy what lists the dependencies, install them, and copy the rest after that";
      const std::string folder = FolderOf(facts), below = folder.empty() ? "" : folder + "/";
      std::vector<std::string> manifests = ManifestsOf(pass, install, folder);
      for (std::string& name : manifests) name.insert(0, below);
      hint.text.push_back(fmt::format("COPY {} ./{}", Join(manifests, " "), below));
      hint.text.push_back(fmt::format("RUN {}{}", folder.empty() ? "" : "cd " + folder + " && ", install.command));
      if (walk.copy_all != nullptr) hint.text.push_back(walk.copy_all->origin.text);
    }
    pass.Report(instruction.origin, std::move(hint));
    return;  // one for a step
  }
}

// --- MissingCacheMount -----------------------------------------------------------------------

// Whether one of the step's cache mounts can be the manager's: its target names it, or names
// nobody.
bool HasCacheMount(const Run& run, const PackageManager& manager) {
  static constexpr std::string_view kAnybody =
      "npm|yarn|pnpm|bun|pip|poetry|uv|conda|bundle|gem|composer|cargo|go|.m2|gradle|nuget|apt|dnf|"
      "yum|apk";
  return std::ranges::any_of(run.mounts, [&](const std::string& mount) {
    if (MountType(mount) != "cache") return false;
    std::string target = MountTarget(mount) + MountValue(mount, {"id"});
    return MentionsAny(target, manager.cache_words) || !MentionsAny(target, kAnybody);
  });
}

std::string MountText(const PackageManager& manager) {
  auto cache = [](std::string_view target) { return fmt::format("--mount=type=cache,target={}", target); };
  if (manager.name == "apt") {
    return "--mount=type=cache,target=/var/cache/apt,sharing=locked "
           "--mount=type=cache,target=/var/lib/apt,sharing=locked";
  }
  if (manager.name == "go") return cache("/go/pkg/mod") + " " + cache(manager.cache_dir);
  if (manager.name == "cargo") return cache(manager.cache_dir) + " " + cache("target");
  return cache(manager.cache_dir);
}

struct Uncached {
  std::vector<const Instruction*> places;
  std::string command;
  bool compiles = false;
  bool no_cache = false;
};

// One hint a manager: the remedy is the same for all its steps.
void ReportUncached(CachePass& pass, const PackageManager& manager, const Uncached& found) {
  CacheHint hint{.rule = CacheRule::kMissingCacheMount};
  std::string again = found.compiles ? "compiles everything anew" : "downloads everything anew";
  hint.reason =
      fmt::format("\"{}\" {} whenever it runs, because it keeps nothing between builds", found.command, again);
  hint.remedy = "keep its cache in a cache mount";
  if (manager.name == "apt") {
    hint.remedy +=
        "; Debian's images throw it away unless told not to: "
        "rm -f /etc/apt/apt.conf.d/docker-clean";
  } else if (found.no_cache) {
    hint.remedy += ", and drop the flag that turns the cache off: a mount is not part of the image";
  } else if (manager.name == "cargo") {
    hint.remedy += "; copy the program out of target in the same step";
  }
  // The cached lists are empty at first: what installs from them has to fetch them in the same step.
  const bool needs_update = manager.name == "apt" && !found.command.contains("update");
  hint.text.push_back(
      fmt::format("RUN {} {}{}", MountText(manager), needs_update ? "apt-get update && " : "", found.command));
  for (const Instruction* place : found.places) hint.spans.push_back(place->origin.span);
  hint.cost = {.seconds = manager.seconds - manager.warm_seconds};
  pass.Report(found.places[0]->origin, std::move(hint));
}

void CheckCacheMounts(CachePass& pass) {
  std::map<const PackageManager*, Uncached> uncached;
  std::vector<const PackageManager*> order;
  for (const StageFacts& stage : pass.stages) {
    for (size_t i = 0; i < stage.runs.size(); ++i) {
      const Instruction& instruction = stage.stage->instructions[i];
      for (const Install& install : stage.runs[i].installs) {
        const PackageManager& manager = *install.manager;
        // Too quick to be worth a mount, or nothing that a cache would hold.
        bool worth = manager.seconds - manager.warm_seconds >= 4;
        bool local = install.kind == InstallKind::kLocal;
        if (!worth || local || HasCacheMount(std::get<Run>(instruction.body), manager)) continue;
        if (pass.Skipped(CacheRule::kMissingCacheMount, &instruction.origin)) continue;
        Uncached& found = uncached[&manager];
        if (found.places.empty()) {
          order.push_back(&manager);
          found.command = install.command;
          found.compiles = install.kind == InstallKind::kCompile;
          found.no_cache = install.no_cache;
        }
        if (found.places.empty() || found.places.back() != &instruction) {
          found.places.push_back(&instruction);
        }
      }
    }
  }
  for (const PackageManager* manager : order) ReportUncached(pass, *manager, uncached[manager]);
}

// --- PackageListLeftInLayer ------------------------------------------------------------------

bool MountsBelow(const Run& run, std::string_view path) {
  return std::ranges::any_of(run.mounts, [&](const std::string& mount) {
    std::string type = MountType(mount);
    if (type != "cache" && type != "tmpfs") return false;
    std::string target = MountTarget(mount);
    return target.starts_with(path) || path.starts_with(target + "/");
  });
}

bool Removes(const RunFacts& facts, std::string_view path) {
  return std::ranges::any_of(facts.commands, [&](const ShellCommand& command) {
    if (command.name() != "rm" && command.name() != "find") return false;
    return std::ranges::any_of(command.words, [&](const std::string& word) {
      // The directory itself, something in it, or one above it.
      return word.starts_with(path) || (word.size() > 4 && path.starts_with(word));
    });
  });
}

void CheckLists(CachePass& pass, const Instruction& instruction, const RunFacts& facts) {
  const Run& run = std::get<Run>(instruction.body);
  CacheHint hint{.rule = CacheRule::kPackageListLeftInLayer};
  auto any = [&](auto test) { return std::ranges::any_of(facts.commands, test); };
  bool apt = any([](const ShellCommand& c) { return (c.name() == "apt-get" || c.name() == "apt") && c.Has("update"); });
  bool apk = any([](const ShellCommand& c) {
    bool fetches = c.Has("update") || c.Has("--update") || c.Has("--update-cache") || c.Has("-U");
    return c.name() == "apk" && fetches && !c.Has("--no-cache");
  });
  bool dnf = any([](const ShellCommand& c) {
    return (c.name() == "dnf" || c.name() == "yum" || c.name() == "microdnf") && c.Has("install");
  });
  bool dist_clean = any([](const ShellCommand& c) { return c.Has("dist-clean") || c.Has("distclean"); });
  if (apt && !dist_clean && !Removes(facts, "/var/lib/apt/lists") && !MountsBelow(run, "/var/lib/apt")) {
    hint.reason =
        "The package lists that apt-get update fetches stay in this layer, and no later step "
        "can take them out of it";
    hint.remedy = "remove them in the same RUN, or mount a cache over /var/lib/apt";
    hint.text = {"RUN apt-get update && apt-get install -y … && rm -rf /var/lib/apt/lists/*"};
    hint.cost.bytes = kAptLists;
  } else if (apk && !Removes(facts, "/var/cache/apk") && !MountsBelow(run, "/var/cache/apk")) {
    hint.reason = "The index that apk fetches stays in this layer";
    hint.remedy = "let apk fetch it for the one command";
    hint.text = {"RUN apk add --no-cache …"};
    hint.cost.bytes = kApkIndex;
  } else if (dnf && !Removes(facts, "/var/cache") && !MountsBelow(run, "/var/cache") &&
             !any([](const ShellCommand& c) { return c.Has("clean"); })) {
    hint.reason = "What dnf or yum downloads about its repositories stays in this layer";
    hint.remedy = "clean up in the same RUN, or mount a cache over it";
    hint.text = {"RUN dnf install -y … && dnf clean all"};
    hint.cost.bytes = kDnfMetadata;
  } else {
    return;
  }
  pass.Report(instruction.origin, std::move(hint));
}

}  // namespace

void CheckInstalls(CachePass& pass) {
  std::map<const StageFacts*, Walk> ends;
  for (const StageFacts& stage : pass.stages) {
    Walk walk = stage.base != nullptr ? ends[stage.base] : Walk();
    for (size_t i = 0; i < stage.runs.size(); ++i) {
      const Instruction& instruction = stage.stage->instructions[i];
      if (CopiesWholeContext(instruction)) {
        if (walk.copy_all == nullptr) walk.copy_all = &instruction;
        continue;
      }
      if (!std::holds_alternative<Run>(instruction.body)) continue;
      const RunFacts& facts = stage.runs[i];
      CheckOrder(pass, instruction, facts, walk);
      if (stage.ships) CheckLists(pass, instruction, facts);
      if (walk.copy_all != nullptr) continue;
      for (const Install& install : facts.installs) {
        if (install.kind == InstallKind::kManifest) walk.installed.insert(install.manager->name);
      }
    }
    ends[&stage] = walk;
  }
  CheckCacheMounts(pass);
}

}  // namespace varve::dockerfile
