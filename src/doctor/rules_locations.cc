// Rules about where caches lie: who writes there, who reads there.
#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "doctor/pass.h"

namespace varve::doctor {
namespace {

struct Use {
  const BuildCall* call;
  const CacheEntry* entry;
};
using Uses = std::map<std::string, std::vector<Use>>;  // by location

bool Mentions(std::string_view text, std::string_view word) { return text.find(word) != text.npos; }

// How people call a location.
std::string Shown(const CacheEntry& entry) {
  if (entry.type == "gha") {
    return entry.Get("scope").empty() ? "GitHub's cache"
                                      : fmt::format("scope {} of GitHub's cache", entry.Get("scope"));
  }
  std::string location = entry.Location();
  return location.substr(location.find(':') + 1);
}

// The entry as the other flag takes it.
std::string AsSource(const CacheEntry& entry) {
  if (entry.type == "gha") return entry.Get("scope").empty() ? "type=gha" : "type=gha,scope=" + entry.Get("scope");
  if (entry.type == "registry") return "type=registry,ref=" + entry.Get("ref");
  if (entry.type == "local") return "type=local,src=" + entry.Get("dest");
  std::string text;
  for (const std::string& field : Split(entry.text, ',')) {
    std::string key = ToLower(field.substr(0, field.find('=')));
    bool of_export = key == "mode" || key == "ignore-error" || key == "compression" || key == "compression-level" ||
                     key == "force-compression" || key == "image-manifest" || key == "oci-mediatypes";
    if (!of_export) text += (text.empty() ? "" : ",") + field;
  }
  return text;
}

// How the file at hand says it.
std::vector<std::string> Written(const CacheEntry& entry, std::string_view flag, const std::string& value) {
  switch (entry.file->kind) {
    case FileKind::kCompose:
      return {std::string(flag == "cache-from" ? "cache_from:" : "cache_to:"), "  - " + value};
    case FileKind::kBake:
      return {fmt::format("{} = [\"{}\"]", flag, value)};
    case FileKind::kGithub: {
      bool action = entry.file->lines[static_cast<size_t>(entry.line - 1)].find("--") == std::string::npos;
      if (action) return {fmt::format("{}: {}", flag, value)};
      break;
    }
    default:
      break;
  }
  return {fmt::format("--{} {}", flag, value)};
}

// `cache-to: type=gha` alone on its line gets a `cache-from:` above it.
std::optional<Fix> InsertSource(const CacheEntry& entry) {
  if (entry.file->kind != FileKind::kGithub) return std::nullopt;
  const std::string& line = entry.file->lines[static_cast<size_t>(entry.line - 1)];
  if (!TrimSpace(line).starts_with("cache-to: type=")) return std::nullopt;
  std::string text = IndentOf(*entry.file, entry.line) + "cache-from: " + AsSource(entry);
  return Fix{.file = entry.file->path, .edits = {{entry.line, entry.line - 1, {text}}}};
}

bool WritesInline(const BuildCall& call) {
  bool to = std::ranges::any_of(call.to, [](const CacheEntry& entry) { return entry.type == "inline"; });
  return to || std::ranges::any_of(call.args, [](const Argument& arg) {
           return arg.name == "BUILDKIT_INLINE_CACHE" && ParseBool(arg.value).value_or(false);
         });
}

// Whether `matrix.NAME` in a location may stand for what another one has there: `cache-${{
// matrix.stage }}` for `cache-deps`. The rest of both is compared as written.
bool MayStandFor(std::string_view location, std::string_view other) {
  constexpr std::string_view kMatrix = "${{ matrix.", kEnd = "}}";
  size_t at = location.find(kMatrix);
  if (at == location.npos) return location == other;
  if (other.substr(0, at) != location.substr(0, at)) return false;
  size_t end = location.find(kEnd, at);
  if (end == location.npos) return false;
  std::string_view rest = location.substr(end + kEnd.size());
  for (size_t i = at + 1; i <= other.size(); ++i) {
    if (MayStandFor(rest, other.substr(i))) return true;
  }
  return false;
}

void CheckWritten(Pass& pass, const Uses& written, const Uses& read) {
  for (const auto& [location, uses] : written) {
    auto stands_for = [&](const auto& item) { return MayStandFor(location, item.first); };
    if (std::ranges::any_of(read, stands_for)) continue;
    // A varying location is another rule's.
    if (IsVolatileValue(location)) continue;
    const auto& [call, entry] = uses[0];
    Finding& finding = pass.Add("CacheWrittenNotRead", *entry->file, entry->line);
    finding.reason = fmt::format("{} is written here, and no build of the project reads it", Shown(*entry));
    finding.remedy = "read what is written";
    finding.text = Written(*entry, "cache-from", AsSource(*entry));
    finding.cost = pass.BuildCost(*call);
    finding.fix = InsertSource(*entry);
  }
}

// The call that tags an image so; null: nobody does.
const BuildCall* TaggedBy(const Project& project, const std::string& reference) {
  for (const BuildCall& call : project.calls) {
    if (std::ranges::find(call.tags, reference) != call.tags.end()) return &call;
  }
  return nullptr;
}

// `cache-main` is what `cache-${{ github.ref_name }}` writes on main.
bool WrittenByABranch(const Uses& written, const std::string& location) {
  return std::ranges::any_of(written, [&](const auto& item) {
    return IsBranchValue(item.first) && location.starts_with(item.first.substr(0, item.first.find('$')));
  });
}

void CheckRead(Pass& pass, const Uses& written, const Uses& read) {
  for (const auto& [location, uses] : read) {
    if (written.contains(location) || WrittenByABranch(written, location)) continue;
    if (IsVolatileValue(location) || IsBranchValue(location)) continue;
    const auto& [call, entry] = uses[0];
    bool image = entry->type == "image" || entry->type == "registry";
    std::string reference = entry->type == "image" ? entry->text : entry->Get("ref");
    const BuildCall* maker = image ? TaggedBy(pass.project, reference) : nullptr;
    // varve reads any image.
    if (maker != nullptr && (WritesInline(*maker) || call->by_varve)) continue;
    if (maker == nullptr && image && (reference.find('$') != reference.npos || call->by_varve)) continue;
    Finding& finding = pass.Add("CacheReadNotWritten", *entry->file, entry->line);
    finding.cost = pass.BuildCost(*call);
    if (maker != nullptr) {
      finding.reason = fmt::format(
          "{} is an image, and has no cache metadata in it: BuildKit reads it and finds nothing. "
          "(varve "
          "compares the image itself, and needs none)",
          reference);
      finding.remedy = "export a cache beside the image, and read that; or build with varve";
      finding.text = Written(*entry, "cache-to", fmt::format("type=registry,ref={}-cache,mode=max", reference));
    } else {
      finding.reason = fmt::format("{} is read here, and no build of the project writes it", Shown(*entry));
      finding.remedy = "write it in one of the builds";
      std::string value = AsSource(*entry);
      if (entry->type == "image") value = "type=registry,ref=" + entry->text;
      if (entry->type == "local") value = "type=local,dest=" + entry->Get("src");
      finding.text = Written(*entry, "cache-to", value + ",mode=max");
    }
  }
}

// Builds that overwrite each other's cache.
void CheckShared(Pass& pass, const Uses& written) {
  for (const auto& [location, uses] : written) {
    std::map<std::string, Use> images;
    std::set<std::string> platforms;
    const Use* matrix = nullptr;
    for (const Use& use : uses) {
      if (use.call->starts || use.call->by_varve || !use.call->context_known) continue;
      images.emplace(use.call->Image(), use);
      platforms.insert(Join(use.call->platforms, ","));
      bool varies = !use.call->matrix.empty() && !Mentions(use.entry->text, "matrix.");
      if (varies) matrix = &use;
    }
    bool no_scope = location == "gha:buildkit";
    auto suggest = [&](Finding& finding, const CacheEntry& entry, const std::string& suffix) {
      std::string value = entry.text;
      if (entry.type == "gha") {
        std::string scope = entry.Get("scope");
        value = scope.empty() ? entry.text + ",scope=" + suffix
                              : ReplaceAll(entry.text, "scope=" + scope, "scope=" + scope + "-" + suffix);
      } else {
        for (const char* key : {"ref", "dest", "name"}) {
          std::string old = entry.Get(key);
          if (!old.empty())
            value = ReplaceAll(value, std::string(key) + "=" + old, std::string(key) + "=" + old + "-" + suffix);
        }
      }
      finding.text = Written(entry, "cache-to", value);
      finding.cost = pass.BuildCost(*uses[0].call);
    };
    if (matrix != nullptr) {
      bool by_platform =
          std::ranges::any_of(matrix->call->platforms, [](const std::string& p) { return Mentions(p, "matrix."); });
      std::string name = matrix->call->matrix[0];
      Finding& finding = pass.Add(by_platform ? "PlatformsShareCache"
                                  : no_scope  ? "GhaCacheWithoutScope"
                                              : "SharedCacheLocation",
                                  *matrix->entry->file, matrix->entry->line);
      finding.reason = fmt::format(
          "Every job of the matrix writes {}, and the one that ends last overwrites the others: "
          "the next run hits for one value of matrix.{} only",
          Shown(*matrix->entry), name);
      finding.remedy = "give each job a cache of its own, here and where it is read";
      // A platform has a slash in its name, which a tag cannot have.
      suggest(finding, *matrix->entry, by_platform ? "${{ strategy.job-index }}" : "${{ matrix." + name + " }}");
      continue;
    }
    if (images.size() >= 2) {
      auto second = std::next(images.begin());
      const Use& first = images.begin()->second;
      // The later one in the file is where it shows.
      const Use& at = second->second.entry->line >= first.entry->line ? second->second : first;
      const Use& other = &at == &first ? second->second : first;
      Finding& finding =
          pass.Add(no_scope ? "GhaCacheWithoutScope" : "SharedCacheLocation", *at.entry->file, at.entry->line);
      std::string where = other.entry->file == at.entry->file
                              ? fmt::format("line {}", other.entry->line)
                              : fmt::format("{}:{}", other.entry->file->path, other.entry->line);
      finding.reason = no_scope ? fmt::format(
                                      "{} and {} ({}) are two images, and without a scope both write the same entry: "
                                      "the last one wins",
                                      at.call->name, other.call->name, where)
                                : fmt::format("{} and {} ({}) are two images, and both write {}: the last one wins",
                                              at.call->name, other.call->name, where, Shown(*at.entry));
      finding.remedy = "give each image a cache of its own, here and where it is read";
      size_t space = at.call->name.rfind(' ');
      bool short_name = at.call->file->kind == FileKind::kCompose || at.call->file->kind == FileKind::kBake;
      std::string suffix =
          short_name ? at.call->name.substr(space + 1) : at.call->context.substr(at.call->context.rfind('/') + 1);
      suggest(finding, *at.entry, suffix.empty() ? "app" : suffix);
      continue;
    }
    if (platforms.size() >= 2 && uses.size() >= 2) {
      const Use& at = uses.back();
      Finding& finding = pass.Add("PlatformsShareCache", *at.entry->file, at.entry->line);
      finding.reason = fmt::format(
          "Builds for different platforms write {}, and the one that ends last overwrites the "
          "others",
          Shown(*at.entry));
      finding.remedy = "build the platforms in one build, or give each a cache of its own";
      suggest(finding, *at.entry, "arm64");
    }
  }
}

void CheckMode(Pass& pass, const BuildCall& call) {
  for (const CacheEntry& entry : call.to) {
    std::string mode = entry.Get("mode");
    if (entry.type == "inline" || entry.type == "image" || !(mode.empty() || mode == "min")) continue;
    dockerfile::HintCost cost = pass.OtherStagesCost(call);
    if (cost.seconds < 2) continue;
    Finding& finding = pass.Add("CacheModeMin", *entry.file, entry.line);
    const SourceFile* dockerfile = pass.project.DockerfileOf(call);
    finding.reason = fmt::format(
        "mode=min {} exports the steps of the final stage only; the other stages of {} run again "
        "on a machine that does not have them",
        mode.empty() ? "(the default)" : "", dockerfile->path);
    finding.reason = ReplaceAll(finding.reason, "  ", " ");
    finding.remedy = "export all stages";
    std::string better = mode.empty() ? entry.text + ",mode=max" : ReplaceAll(entry.text, "mode=min", "mode=max");
    finding.text = Written(entry, "cache-to", better);
    finding.cost = cost;
    finding.fix = ReplaceInLine(*entry.file, entry.line, entry.text, better);
  }
}

// The only thing on its line: `- BUILDKIT_INLINE_CACHE=1`.
std::optional<Fix> DropLine(const SourceFile& file, int line, std::string_view name) {
  std::string_view text = TrimSpace(file.lines[static_cast<size_t>(line - 1)]);
  if (text.starts_with("- ")) text = TrimSpace(text.substr(2));
  if (text.starts_with('"')) text.remove_prefix(1);
  if (!text.starts_with(name) || text.find(' ') < text.find_first_of("=:")) return std::nullopt;
  return Fix{.file = file.path, .edits = {{line, line, {}}}, .changes_image = true};
}

void CheckInline(Pass& pass, const BuildCall& call) {
  if (!WritesInline(call)) return;
  const SourceFile* file = call.file;
  int line = call.line;
  std::optional<Fix> fix;
  for (const Argument& arg : call.args) {
    if (arg.name != "BUILDKIT_INLINE_CACHE") continue;
    line = arg.line;
    bool last = call.args.size() == 1;
    if (!last && file->kind != FileKind::kShell && file->kind != FileKind::kBake) fix = DropLine(*file, line, arg.name);
  }
  for (const CacheEntry& entry : call.to) {
    if (entry.type == "inline") line = entry.line, file = entry.file;
  }
  bool elsewhere = std::ranges::any_of(call.to, [](const CacheEntry& entry) { return entry.type != "inline"; });
  bool read = std::ranges::any_of(pass.project.calls, [&](const BuildCall& other) {
    return std::ranges::any_of(other.from,
                               [](const CacheEntry& e) { return e.type == "image" || e.type == "registry"; });
  });
  dockerfile::HintCost others = pass.OtherStagesCost(call);
  std::string reason;
  if (elsewhere) {
    reason =
        "The cache is exported elsewhere as well: the one inside the image is only more to write, "
        "and makes the "
        "image another one";
  } else if (!read) {
    reason = "The image carries its cache, and no build of the project reads an image as a cache";
  } else if (others.seconds >= 2) {
    reason =
        "The inline cache holds the steps of the final stage only, so the other stages run again "
        "on every machine "
        "that does not have them";
  } else {
    return;
  }
  Finding& finding = pass.Add("InlineCache", *file, line);
  finding.reason = reason;
  finding.remedy = elsewhere ? "leave it out" : "export a cache beside the image, with all stages";
  finding.cost = elsewhere || !read ? dockerfile::HintCost() : others;
  finding.fix = elsewhere || !read ? fix : std::nullopt;
  if (!elsewhere) {
    std::string image = call.tags.empty() ? "NAME" : call.tags[0];
    size_t colon = image.rfind(':');
    if (colon != image.npos && image.find('/', colon) == image.npos) image.resize(colon);
    finding.text = {fmt::format("type=registry,ref={}:cache,mode=max", image)};
  }
}

void CheckLocal(Pass& pass, const BuildCall& call) {
  for (const CacheEntry& to : call.to) {
    if (to.type != "local" || !to.Get("max-size").empty() || to.Get("reset") == "true") continue;
    bool in_place = std::ranges::any_of(
        call.from, [&](const CacheEntry& from) { return from.type == "local" && from.Get("src") == to.Get("dest"); });
    if (!in_place && !call.by_varve) continue;
    Finding& finding = pass.Add("LocalCacheGrows", *to.file, to.line);
    finding.reason =
        fmt::format("Every build adds to {}, and nothing ever takes away what no build uses any more", to.Get("dest"));
    finding.remedy = call.by_varve ? "give it a limit" : "with varve, give it a limit; BuildKit has none";
    finding.text = Written(to, "cache-to", to.text + ",max-size=2g");
    if (call.by_varve) finding.fix = ReplaceInLine(*to.file, to.line, to.text, to.text + ",max-size=2g");
  }
}

void CheckMoving(Pass& pass, const CacheEntry& entry) {
  std::string location = entry.Location();
  Finding* finding = nullptr;
  if (IsVolatileValue(location)) {
    finding = &pass.Add("CacheLocationChanges", *entry.file, entry.line);
    finding->reason =
        fmt::format("{} is another place in every build: what one writes, no later one reads", Shown(entry));
    finding->remedy = "name a place that stays";
  }
  if (finding != nullptr && entry.type == "gha") finding->text = {"type=gha,scope=main"};
}

void CheckBranch(Pass& pass, const BuildCall& call) {
  if (call.from.empty()) return;
  bool all_of_branches = std::ranges::all_of(call.from, [](const CacheEntry& entry) {
    // GitHub's cache itself falls back to the default branch, but not to another scope.
    return IsBranchValue(entry.Location());
  });
  if (!all_of_branches) return;
  const CacheEntry& entry = call.from[0];
  Finding& finding = pass.Add("BranchCacheStartsEmpty", *entry.file, entry.line);
  finding.reason = fmt::format("{} is a place of this branch only: the first build of every branch starts with nothing",
                               Shown(entry));
  finding.remedy = "read the main branch's cache as well, after this one";
  finding.cost = pass.BuildCost(call);
}

}  // namespace

void CheckLocations(Pass& pass) {
  Uses written, read;
  for (const BuildCall& call : pass.project.calls) {
    for (const CacheEntry& entry : call.to) {
      if (!entry.Location().empty()) written[entry.Location()].push_back({&call, &entry});
    }
    for (const CacheEntry& entry : call.from) {
      if (!entry.Location().empty()) read[entry.Location()].push_back({&call, &entry});
    }
  }
  CheckWritten(pass, written, read);
  CheckRead(pass, written, read);
  CheckShared(pass, written);
  for (const BuildCall& call : pass.project.calls) {
    if (call.starts) continue;
    CheckMode(pass, call);
    CheckInline(pass, call);
    CheckLocal(pass, call);
    CheckBranch(pass, call);
    for (const CacheEntry& entry : call.to) CheckMoving(pass, entry);
    for (const CacheEntry& entry : call.from) CheckMoving(pass, entry);
  }
}

}  // namespace varve::doctor
