// Rules about machines that start empty: what they read, whether they can write, how folders
// travel.
#include <algorithm>

#include "base/strings.h"
#include "doctor/pass.h"

namespace varve::doctor {
namespace {

const std::string& LineAt(const SourceFile& file, int line) { return file.lines[static_cast<size_t>(line - 1)]; }

// The line on which the step's list item begins.
int StartOfStep(const SourceFile& file, int line) {
  for (int at = line; at >= 1 && at > line - 20; --at) {
    if (TrimSpace(LineAt(file, at)).starts_with("- ")) return at;
  }
  return 0;
}

// The first line below `with:` of a step.
int FirstInput(const SourceFile& file, int line) {
  for (int at = line + 1; at < static_cast<int>(file.lines.size()) && at < line + 8; ++at) {
    std::string_view text = TrimSpace(LineAt(file, at));
    if (text.starts_with("- ")) return 0;
    if (text == "with:") return at + 1;
  }
  return 0;
}

// A name for the image that has no odd characters.
std::string ScopeOf(const BuildCall& call) {
  std::string scope = call.context.substr(call.context.rfind('/') + 1);
  if (scope.empty() && !call.target.empty()) scope = call.target;
  return scope.empty() || scope.find('$') != scope.npos ? "app" : scope;
}

void CheckSource(Pass& pass, const BuildCall& call) {
  if (!call.fresh_machine || !call.from.empty() || !call.to.empty() || call.no_cache_always) return;
  // varve's action finds GitHub's cache by itself.
  if (call.by_varve && call.file->kind == FileKind::kGithub) return;
  dockerfile::HintCost cost = pass.BuildCost(call);
  if (cost.seconds < 5) return;
  Finding& finding = pass.Add("NoCacheSource", *call.file, call.line);
  finding.reason =
      "The machine that builds this starts with an empty cache, and the build reads none: every "
      "step runs every time";
  finding.cost = cost;
  finding.remedy = "read and write a cache that outlives the machine";
  bool job_on_github = call.job.find(".github/") != call.job.npos;
  bool ref_known = !call.tags.empty() && call.tags[0].find_first_of(" \n") == std::string::npos;
  std::string image = ref_known ? call.tags[0].substr(0, call.tags[0].rfind(':')) : "REGISTRY/NAME";
  std::string from =
      job_on_github ? "type=gha,scope=" + ScopeOf(call) : fmt::format("type=registry,ref={}:cache", image);
  switch (call.file->kind) {
    case FileKind::kCompose:
      finding.text = {"cache_from:", "  - " + from, "cache_to:", "  - " + from + ",mode=max"};
      break;
    case FileKind::kBake:
      finding.text = {fmt::format("cache-from = [\"{}\"]", from), fmt::format("cache-to = [\"{},mode=max\"]", from)};
      break;
    case FileKind::kGithub: {
      int at = FirstInput(*call.file, call.line);
      bool action = LineAt(*call.file, call.line).find("uses:") != std::string::npos;
      if (action) {
        finding.text = {"cache-from: " + from, "cache-to: " + from + ",mode=max"};
        if (at != 0) {
          std::string indent = IndentOf(*call.file, at);
          Edit edit{at, at - 1, {indent + finding.text[0], indent + finding.text[1]}};
          finding.fix = Fix{.file = call.file->path, .edits = {std::move(edit)}};
        }
        break;
      }
      [[fallthrough]];
    }
    default:
      finding.text = {fmt::format("--cache-from {} --cache-to {},mode=max", from, from)};
  }
}

void CheckBuilder(Pass& pass, const BuildCall& call) {
  bool ci = call.file->kind == FileKind::kGithub || call.file->kind == FileKind::kGitlab;
  if (!ci || !call.docker_driver || call.by_varve) return;
  auto it = std::ranges::find_if(call.to, [](const CacheEntry& entry) { return entry.type != "inline"; });
  if (it == call.to.end()) return;
  Finding& finding = pass.Add("CacheNeedsBuilder", *it->file, it->line);
  finding.reason = fmt::format(
      "The job sets up no builder, so that docker's own is used, and that one refuses to export a "
      "cache of type {} "
      "(unless its containerd image store is on)",
      it->type);
  finding.remedy = "set up a builder before this step";
  if (call.file->kind == FileKind::kGithub) {
    finding.text = {"- uses: docker/setup-buildx-action@v3"};
    int at = StartOfStep(*call.file, call.line);
    if (at != 0) {
      Edit edit{at, at - 1, {IndentOf(*call.file, at) + finding.text[0]}};
      finding.fix = Fix{.file = call.file->path, .edits = {std::move(edit)}};
    }
  } else {
    finding.text = {"docker buildx create --use"};
  }
}

void CheckKey(Pass& pass, const FolderCache& cache) {
  if (!IsVolatileValue(cache.key) || !cache.restore_keys.empty()) return;
  bool builds = std::ranges::any_of(pass.project.calls, [&](const BuildCall& call) { return call.job == cache.job; });
  bool of_images = std::ranges::any_of(cache.paths, [](const std::string& path) {
    return path.find("buildx") != path.npos || path.find("docker") != path.npos || path.find("varve") != path.npos;
  });
  if (!builds && !of_images) return;
  Finding& finding = pass.Add("CacheKeyNeverMatches", *cache.file, cache.line);
  finding.reason =
      "The key is another one in every run, and nothing says which older entry may be taken "
      "instead: this "
      "folder is saved each time, and never restored";
  finding.remedy = "say what the keys have in common";
  std::string prefix = cache.key;
  // Up to the part that changes.
  size_t at = prefix.npos;
  for (std::string_view begin : {"${{", "$"}) {
    for (size_t i = prefix.find(begin); i != prefix.npos; i = prefix.find(begin, i + 1)) {
      size_t end = begin == "$" ? prefix.size() : prefix.find("}}", i);
      if (IsVolatileValue(std::string_view(prefix).substr(i, end == prefix.npos ? end : end - i))) {
        at = i;
        break;
      }
    }
    if (at != prefix.npos) break;
  }
  prefix = prefix.substr(0, at);
  if (prefix.empty()) prefix = "varve-";
  if (cache.file->kind == FileKind::kGitlab) {
    finding.text = {"fallback_keys: [" + prefix + "main]"};
    return;
  }
  finding.text = {"restore-keys: " + prefix};
  bool one_line = TrimSpace(LineAt(*cache.file, cache.line)).starts_with("key:");
  if (one_line) {
    Edit edit{cache.line + 1, cache.line, {IndentOf(*cache.file, cache.line) + finding.text[0]}};
    finding.fix = Fix{.file = cache.file->path, .edits = {std::move(edit)}};
  }
}

}  // namespace

void CheckRunners(Pass& pass) {
  for (const BuildCall& call : pass.project.calls) {
    if (call.starts) continue;
    CheckSource(pass, call);
    CheckBuilder(pass, call);
  }
  for (const FolderCache& cache : pass.project.folder_caches) CheckKey(pass, cache);
}

}  // namespace varve::doctor
