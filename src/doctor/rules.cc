#include <algorithm>

#include "doctor/finding.h"

namespace varve::doctor {
namespace {

constexpr Severity kNote = Severity::kNote, kWarning = Severity::kWarning, kError = Severity::kError;

// By name. doc/doctor.md has an example of each; doctor_page_test takes them from there.
constexpr RuleText kRules[] = {
    {"AptCacheThrownAway", kWarning, "A cache mount for apt needs docker-clean out of the way"},
    {"BranchCacheStartsEmpty", kNote, "A cache per branch should also read the main branch's"},
    {"BuildKitOff", kWarning, "The classic builder has no cache mounts, no secrets and no cache to export"},
    {"CacheKeyNeverMatches", kWarning, "A key that changes with every run needs restore keys"},
    {"CacheLocationChanges", kWarning, "A cache should lie where the next build looks for it"},
    {"CacheModeMin", kWarning, "A build of several stages should export all of them"},
    {"CacheMountEmptied", kWarning, "A step should not empty the cache that it has mounted, or turn it off"},
    {"CacheMountNotLocked", kWarning, "apt's cache mounts should be locked"},
    {"CacheMountsDiffer", kWarning, "Steps that use one package manager should share one cache mount"},
    {"CacheNeedsBuilder", kError, "The docker driver cannot export a cache"},
    {"CacheReadNotWritten", kWarning, "What a build reads as a cache, some build should write"},
    {"CacheTurnedOff", kWarning, "A build should not always ignore its cache"},
    {"CacheWrittenNotRead", kWarning, "What a build writes as a cache, some build should read"},
    {"ClearAsks", kWarning, "A script that clears should not wait for an answer"},
    {"ClearLeavesCache", kWarning, "Clearing the cache should clear all of it"},
    {"ClearLeavesImages", kWarning, "Where images are read as caches, clearing includes them"},
    {"CopiedButNotRead", kNote, "A step that reads little of what is copied should stand above the rest of it"},
    {"DockerignoreLetsIn", kWarning, "What no step needs should be ignored when the context is copied whole"},
    {"FloatingAction", kNote, "Actions should be pinned"},
    {"ForceKeepsOldBase", kWarning, "A forced rebuild should also ask for new base images"},
    {"ForceRecreateBuildsNothing", kNote, "--force-recreate makes containers anew, not images"},
    {"ForceRmForcesNothing", kNote, "--force-rm does not force a rebuild"},
    {"GhaCacheWithoutScope", kWarning, "Each image needs its own scope in GitHub's cache"},
    {"InlineCache", kWarning, "The inline cache has only the steps of the final stage"},
    {"InstallBelowCopyAll", kWarning, "Dependencies should be installed before the whole context is copied"},
    {"LocalCacheGrows", kWarning, "A cache in a folder should have a limit"},
    {"MissingCacheMount", kWarning, "Package managers and compilers should keep their cache in a cache mount"},
    {"NoCacheSource", kWarning, "A build on a machine that starts empty should read a cache"},
    {"NoDockerignore", kWarning, "A context that is copied whole should have a .dockerignore"},
    {"PackageListLeftInLayer", kNote, "Package lists should not be left in a layer"},
    {"PlatformsShareCache", kWarning, "Jobs that build one platform each need a cache each"},
    {"SecretInBuildArg", kError, "Secrets should be mounted, not passed as build arguments"},
    {"SecretsUsedInArgOrEnv", kWarning, "Sensitive data should not be used in the ARG or ENV commands"},
    {"SharedCacheLocation", kWarning, "Each image should write a cache of its own"},
    {"SwitchDoesNothing", kWarning, "A switch should be read by somebody"},
    {"UncheckedDownload", kNote, "ADD of a URL should have a checksum"},
    {"UnpinnedBase", kNote, "Base images should be pinned by digest"},
    {"UnpinnedDownload", kNote, "What RUN downloads should be pinned"},
    {"UnpinnedPackage", kNote, "Packages that RUN installs by name should have a version"},
    {"UnreadDockerignore", kWarning, "An ignore file should lie where builds look for it"},
    {"UnreadableFile", kNote, "A file that cannot be parsed is not looked at"},
    {"UnusedBuildArg", kWarning, "A build argument should be declared in the Dockerfile"},
    {"VolatileArgTooEarly", kWarning, "An ARG that changes with every build should be declared where it is used"},
};

}  // namespace

std::string_view SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "";
}

std::span<const RuleText> Rules() { return kRules; }

const RuleText* FindRule(std::string_view name) {
  auto it = std::ranges::find(kRules, name, &RuleText::name);
  return it == std::end(kRules) ? nullptr : it;
}

}  // namespace varve::doctor
