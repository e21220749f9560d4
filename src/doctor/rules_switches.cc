// Rules about switches that promise something of the cache: force, clear, no-cache.
#include <algorithm>

#include "base/strings.h"
#include "doctor/pass.h"

namespace varve::doctor {
namespace {

void CheckNoCache(Pass& pass, const BuildCall& call) {
  if (call.no_cache_line == 0) return;
  bool ci_or_file = call.file->kind != FileKind::kShell;
  if (call.no_cache_always && ci_or_file) {
    Finding& finding = pass.Add("CacheTurnedOff", *call.file, call.no_cache_line);
    finding.reason =
        "No build of this ever uses what is cached: the switch is written out, and nobody can "
        "leave it away";
    finding.remedy = "leave it out, and give it by hand when it is wanted";
    finding.cost = pass.BuildCost(call);
    bool alone = call.file->kind != FileKind::kGitlab &&
                 (TrimSpace(call.file->lines[static_cast<size_t>(call.no_cache_line - 1)]).starts_with("no-cache: ") ||
                  TrimSpace(call.file->lines[static_cast<size_t>(call.no_cache_line - 1)]).starts_with("no_cache: ") ||
                  TrimSpace(call.file->lines[static_cast<size_t>(call.no_cache_line - 1)]).starts_with("no-cache = "));
    if (alone) {
      finding.fix =
          Fix{.file = call.file->path, .edits = {{call.no_cache_line, call.no_cache_line, {}}}, .changes_image = true};
    }
    return;
  }
  if (call.pull) return;
  Finding& finding = pass.Add("ForceKeepsOldBase", *call.file, call.no_cache_line);
  finding.reason =
      "This runs every step again, on the base images that lie here: without --pull nobody asks "
      "whether there "
      "are newer ones, so that security updates of the base stay out";
  finding.remedy = "ask for them as well";
  finding.text = {call.file->kind == FileKind::kShell || call.file->kind == FileKind::kGitlab ? "--no-cache --pull"
                                                                                              : "pull: true"};
  const std::string& line = call.file->lines[static_cast<size_t>(call.no_cache_line - 1)];
  if (line.find("--no-cache ") != line.npos || line.ends_with("--no-cache") || line.find("--no-cache\"") != line.npos) {
    finding.fix = ReplaceInLine(*call.file, call.no_cache_line, "--no-cache", "--no-cache --pull");
    if (finding.fix) finding.fix->changes_image = true;
  }
}

bool ReadsImages(const Project& project) {
  return std::ranges::any_of(project.calls, [](const BuildCall& call) {
    return std::ranges::any_of(call.from, [](const CacheEntry& entry) { return entry.type == "image"; });
  });
}

void CheckClear(Pass& pass, const ClearCall& clear) {
  bool prune = clear.what.ends_with("prune");
  if (prune && !clear.forced && clear.file->kind != FileKind::kShell) {
    // A runner has no terminal: the command ends with "no".
    Finding& finding = pass.Add("ClearAsks", *clear.file, clear.line);
    finding.reason = fmt::format(
        "\"{}\" asks whether it may, and in a job there is nobody to answer: nothing is cleared", clear.command);
    finding.remedy = "answer beforehand";
    finding.text = {clear.command + " -f"};
  } else if (prune && !clear.forced) {
    Finding& finding = pass.Add("ClearAsks", *clear.file, clear.line);
    finding.reason = fmt::format(
        "\"{}\" waits for an answer; where the script runs without a terminal it clears nothing", clear.command);
    finding.remedy = "answer beforehand";
    finding.text = {clear.command + " -f"};
    finding.fix = ReplaceInLine(*clear.file, clear.line, clear.command, clear.command + " -f");
  }
  bool builder = clear.what == "builder prune", system = clear.what == "system prune";
  if ((builder || system) && !clear.all) {
    Finding& finding = pass.Add("ClearLeavesCache", *clear.file, clear.line);
    finding.reason =
        builder
            ? fmt::format("\"{}\" removes dangling build cache only: what a later build would hit stays", clear.command)
            : fmt::format(
                  "\"{}\" removes dangling images and dangling build cache only: what a later "
                  "build would hit stays",
                  clear.command);
    finding.remedy = "clear all of it; with varve: varve clear";
    finding.text = {ReplaceAll(clear.command, "prune", "prune --all")};
    std::string_view line = clear.file->lines[static_cast<size_t>(clear.line - 1)];
    if (line.find("prune") != line.npos) finding.fix = ReplaceInLine(*clear.file, clear.line, "prune", "prune --all");
  }
}

// A script that clears the build cache, in a project whose builds take images for caches.
void CheckImagesAreCleared(Pass& pass) {
  if (!ReadsImages(pass.project)) return;
  for (const ClearCall& clear : pass.project.clears) {
    if (clear.what != "builder prune") continue;
    bool images = std::ranges::any_of(pass.project.clears, [&](const ClearCall& other) {
      bool removes = other.what == "rmi" || other.what == "compose down" || other.what == "clear" ||
                     ((other.what == "image prune" || other.what == "system prune") && other.all);
      return other.file == clear.file && removes;
    });
    if (images) continue;
    Finding& finding = pass.Add("ClearLeavesImages", *clear.file, clear.line);
    finding.reason =
        "Builds of this project take an image for their cache (cache_from), and this leaves the "
        "images: the "
        "next build is still a cached one";
    finding.remedy = "remove the project's images as well; with varve: varve clear";
    finding.text = {"docker compose down --rmi all"};
  }
}

void CheckMention(Pass& pass, const Mention& mention) {
  using Kind = Mention::Kind;
  switch (mention.kind) {
    case Kind::kBuildKitOff: {
      Finding& finding = pass.Add("BuildKitOff", *mention.file, mention.line);
      finding.reason =
          "With DOCKER_BUILDKIT=0 docker uses its classic builder, which knows no cache mounts, no "
          "secrets and no "
          "cache export, and builds one stage after the other";
      finding.remedy = "leave it out";
      break;
    }
    case Kind::kForceRm: {
      Finding& finding = pass.Add("ForceRmForcesNothing", *mention.file, mention.line);
      finding.reason =
          "--force-rm removes containers of the classic builder after a failure; it runs no step "
          "again, and with "
          "BuildKit it does nothing";
      finding.remedy = "to run every step again:";
      finding.text = {"--no-cache --pull"};
      break;
    }
    case Kind::kForceRecreate: {
      Finding& finding = pass.Add("ForceRecreateBuildsNothing", *mention.file, mention.line);
      finding.reason = fmt::format("\"{}\" starts new containers of the images as they are", mention.value);
      finding.remedy = "where images are to be built, say so";
      finding.text = {"docker compose up --build --force-recreate"};
      break;
    }
    case Kind::kMoveCache: {
      Finding& finding = pass.Add("LocalCacheGrows", *mention.file, mention.line);
      finding.severity = Severity::kNote;
      finding.reason =
          "The cache is written whole into a second folder and moved over the first, since "
          "BuildKit never takes "
          "anything out of a folder";
      finding.remedy = "with varve, write into the folder itself, with a limit, and drop this step";
      finding.text = {"type=local,dest=DIR,mode=max,max-size=2g"};
      break;
    }
    case Kind::kUnusedSwitch: {
      Finding& finding = pass.Add("SwitchDoesNothing", *mention.file, mention.line);
      finding.reason = fmt::format(
          "{} is offered here, and nothing in this file asks for it: setting it changes nothing", mention.value);
      finding.remedy =
          mention.file->kind == FileKind::kGithub ? "give it to the build" : "ask for it where the build is started";
      if (mention.file->kind == FileKind::kGithub) {
        finding.text = {fmt::format("no-cache: ${{{{ inputs.{} }}}}", mention.value),
                        fmt::format("pull: ${{{{ inputs.{} }}}}", mention.value)};
      } else {
        finding.text = {fmt::format("if [ \"${}\" = 1 ]; then BUILD_ARGS=\"--no-cache --pull\"; fi", mention.value)};
      }
      break;
    }
    case Kind::kFloatingAction: {
      Finding& finding = pass.Add("FloatingAction", *mention.file, mention.line);
      finding.reason = fmt::format("{} is whatever was pushed there last", mention.value);
      finding.remedy = "name a release, or better its commit";
      break;
    }
    case Kind::kUnreadable: {
      Finding& finding = pass.Add("UnreadableFile", *mention.file, mention.line);
      finding.reason = fmt::format("It cannot be read, so that nothing was looked for in it: {}", mention.value);
      finding.remedy = "mend it";
      break;
    }
  }
}

}  // namespace

void CheckSwitches(Pass& pass) {
  for (const BuildCall& call : pass.project.calls) CheckNoCache(pass, call);
  for (const ClearCall& clear : pass.project.clears) CheckClear(pass, clear);
  CheckImagesAreCleared(pass);
  for (const Mention& mention : pass.project.mentions) CheckMention(pass, mention);
}

}  // namespace varve::doctor
