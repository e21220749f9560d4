#include "source/context.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/metric.h"
#include "source/context_reach.h"
#include "source/context_walk.h"
#include "sys/open.h"
#include "tree/pattern.h"

namespace varve::source {

namespace {

constexpr size_t kFewObjects = 256;  // cheaper to keep than to look for

Result<std::optional<tree::PatternList>> CompileList(const std::vector<std::string>& patterns) {
  if (patterns.empty()) return std::optional<tree::PatternList>();
  TRY_ASSIGN(auto list, tree::PatternList::Compile(patterns));
  return std::optional<tree::PatternList>(std::move(list));
}

Result<Fd> OpenDirectory(const std::string& directory) {
  constexpr const char* kHint = "pass an existing directory as the context";
  auto fd = sys::OpenDir(directory);
  if (fd) return fd;
  struct stat st;
  if (stat(directory.c_str(), &st) == 0 && !S_ISDIR(st.st_mode)) {
    Error error = Invalid("build context {} is not a directory", directory);
    error.hint = kHint;
    return error;
  }
  Error error = std::move(fd).error().With("build context");
  error.hint = kHint;
  return error;
}

// Replaces the stat cache when this walk learnt something. What the walk left out is kept: another
// build of the same context may use it, and it costs nothing but bytes.
Status SaveStatCache(const std::string& file, const tree::StatCache& old, WalkOutput& walk) {
  std::sort(walk.visited.begin(), walk.visited.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  std::sort(walk.skipped.begin(), walk.skipped.end());
  auto visited = [&](std::string_view path) {
    auto it = std::lower_bound(walk.visited.begin(), walk.visited.end(), path,
                               [](const auto& v, std::string_view p) { return v.path < p; });
    return it != walk.visited.end() && it->path == path;
  };
  auto skipped = [&](std::string_view path) {
    while (true) {
      if (std::binary_search(walk.skipped.begin(), walk.skipped.end(), path)) return true;
      size_t slash = path.rfind('/');
      if (slash == path.npos) return false;
      path = path.substr(0, slash);
    }
  };

  bool changed = false;
  std::vector<std::pair<std::string_view, std::string_view>> directories;
  for (const auto& directory : walk.visited) {
    changed |= directory.changed;
    std::string_view block = directory.changed ? directory.block : directory.old_block;
    if (!block.empty()) directories.emplace_back(directory.path, block);
  }
  for (size_t i = 0; i < old.directories(); ++i) {
    std::string_view path = old.path(i);
    if (visited(path)) continue;
    std::string_view block = skipped(path) ? old.block(i).bytes() : std::string_view();
    if (block.empty()) {
      changed = true;
    } else {
      directories.emplace_back(path, block);
    }
  }
  // The first one is written even where all files are too young for it, so that a second build of the same leaves
  // nothing in the state root that the first has not: clients of the daemon compare what it holds.
  if (!changed && (walk.hashed_files == 0 || access(file.c_str(), F_OK) == 0)) return Ok();
  std::sort(directories.begin(), directories.end());
  return tree::WriteStatCache(file, directories);
}

}  // namespace

Result<ContextTree> WalkContext(const ContextSpec& spec, tree::TreeStore& store, std::stop_token stop, Clock& clock) {
  METRIC("context.walk");
  TRY_ASSIGN(Fd root, OpenDirectory(spec.directory));
  TRY_ASSIGN(auto exclude, CompileList(spec.exclude));
  TRY_ASSIGN(auto include, CompileList(spec.include));
  TRY_ASSIGN(ReachNode reach, FindReach(root.get(), spec.reach));
  tree::StatCache cache;
  if (!spec.stat_cache_file.empty()) cache = tree::StatCache::Open(spec.stat_cache_file);

  ModeRule modes = ModeRule::For(spec.mode, spec.directory);
  TRY_ASSIGN(WalkOutput walk,
             Walk({root.get(), spec.directory, reach, exclude, include, cache, modes, clock, std::move(stop)}));

  // First: what it was made from goes before the store takes its memory.
  if (!spec.stat_cache_file.empty()) {
    if (Status saved = SaveStatCache(spec.stat_cache_file, cache, walk); !saved) {
      LOG_WARN("the next build hashes the context again: {}", saved.error().ToString());
    }
  }
  std::vector<WalkOutput::Visited>().swap(walk.visited);
  if (walk.objects.size() <= kFewObjects) {
    TRY(store.PutLater(std::move(walk.objects)));
  } else {
    // Objects come in one Put, all or nothing, and a root is collected before what is below it. A
    // store that has the root has them all.
    TRY_ASSIGN(auto known, store.Get(walk.root));
    if (!known) TRY(store.Put(walk.objects));
  }
  Counter("context.files").Add(static_cast<int64_t>(walk.files));
  Counter("context.hashed_files").Add(static_cast<int64_t>(walk.hashed_files));
  Counter("context.hashed_bytes").Add(static_cast<int64_t>(walk.hashed_bytes));
  return ContextTree{walk.root, walk.files, walk.bytes, walk.hashed_files, walk.hashed_bytes};
}

Result<bool> IsIgnored(const ContextSpec& spec, const RelPath& path) {
  if (path.IsRoot()) return false;
  TRY_ASSIGN(auto exclude, CompileList(spec.exclude));
  TRY_ASSIGN(auto include, CompileList(spec.include));
  return (exclude && exclude->MatchesWalking(path.str())) || (include && !include->MatchesWalking(path.str()));
}

Result<ContextRoot> ContextRoot::Open(const std::string& directory) {
  TRY_ASSIGN(Fd fd, OpenDirectory(directory));
  return ContextRoot(std::move(fd));
}

Result<Fd> ContextRoot::OpenFile(const RelPath& path) const {
  return sys::OpenInRoot(fd_.get(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, {.no_symlinks = true});
}

}  // namespace varve::source
