#include "source/context_reach.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "sys/open.h"
#include "sys/statx.h"
#include "tree/pattern.h"
#include "tree/pending_path.h"

namespace varve::source {

namespace {

constexpr int kMaxLinks = 255;  // as tree::ResolveLinks

class Resolver {
 public:
  Resolver(int root_fd, ReachNode& reach) : root_fd_(root_fd), reach_(reach) {}

  Status AddSelector(const tree::Selector& selector) {
    std::string_view path = selector.path;
    RelPath pattern;
    if (selector.parents) {
      size_t pivot = path.find("/./");
      pattern = RelPath(pivot == path.npos ? path : path.substr(pivot + 3));
      path = pivot == path.npos ? std::string_view() : path.substr(0, pivot);
    }
    std::vector<RelPath> bases;
    TRY(Expand(RelPath(), RelPath(path), selector, &bases));
    for (const RelPath& base : bases) {
      RelPath reached = base;
      for (std::string_view part : pattern.Parts()) {
        if (selector.wildcards && tree::HasWildcards(part)) break;
        reached = reached.Join(part);
      }
      reach_.Add(reached);
    }
    return Ok();
  }

 private:
  // Absent, and anything below what is no directory, is nothing.
  Result<std::optional<sys::FileStat>> Stat(const RelPath& path) {
    auto parent = sys::OpenDirNoFollow(root_fd_, path.Parent());
    if (!parent) {
      if (parent.error().code == Code::kNotFound) return std::optional<sys::FileStat>();
      return std::move(parent).error();
    }
    auto stat = sys::Statx(parent->get(), std::string(path.Name()));
    if (stat) return std::optional<sys::FileStat>(*stat);
    if (stat.error().code == Code::kNotFound) return std::optional<sys::FileStat>();
    return std::move(stat).error();
  }

  Result<std::string> Target(const RelPath& link) {
    TRY_ASSIGN(Fd parent, sys::OpenDirNoFollow(root_fd_, link.Parent()));
    return sys::ReadLink(parent.get(), std::string(link.Name()));
  }

  // Where `more` leads from `start`, which has no links; nothing when it leads nowhere.
  Result<std::optional<RelPath>> Follow(const RelPath& start, std::string_view more, bool follow_last) {
    tree::PendingPath todo(more);
    RelPath at = start;
    for (int links = 0; !todo.empty();) {
      std::string part = todo.PopFront();
      if (part == "..") {
        at = at.Parent();
        continue;
      }
      RelPath next = at.Join(part);
      TRY_ASSIGN(auto stat, Stat(next));
      if (!stat) return std::optional<RelPath>();
      if (stat->IsSymlink() && (!todo.empty() || follow_last)) {
        if (++links > kMaxLinks) {
          return Invalid("cannot resolve {} in the context: too many levels of symbolic links",
                         start.Join(more).Absolute());
        }
        reach_.Add(next);
        TRY_ASSIGN(std::string target, Target(next));
        if (target.starts_with('/')) at = RelPath();
        todo.PushFront(target);
      } else if (!stat->IsDirectory() && !todo.empty()) {
        return std::optional<RelPath>();
      } else {
        at = std::move(next);
      }
    }
    return std::optional<RelPath>(std::move(at));
  }

  // Adds the paths that `path`, which may have wildcards, stands for below `start`.
  Status Expand(const RelPath& start, const RelPath& path, const tree::Selector& selector, std::vector<RelPath>* out) {
    std::vector<std::string_view> parts = path.Parts();
    size_t fixed = 0;
    std::string prefix;
    while (fixed < parts.size() && !(selector.wildcards && tree::HasWildcards(parts[fixed]))) {
      prefix.append("/").append(parts[fixed++]);
    }
    TRY_ASSIGN(auto base, Follow(start, prefix, selector.follow_last));
    if (!base) return Ok();
    if (fixed == parts.size()) {
      out->push_back(std::move(*base));
      return Ok();
    }
    return ExpandParts(*base, parts, fixed, selector, out);
  }

  Status ExpandParts(const RelPath& directory, const std::vector<std::string_view>& parts, size_t i,
                     const tree::Selector& selector, std::vector<RelPath>* out) {
    auto fd = sys::OpenInRoot(root_fd_, directory, O_RDONLY | O_DIRECTORY, 0, {.no_symlinks = true});
    if (!fd) return Ok();  // no directory, or none that can be read: the walk tells
    TRY_ASSIGN(auto entries, sys::ListDirectory(fd->get()));
    TRY_ASSIGN(tree::Glob glob, tree::Glob::CompileFileMatch(parts[i]));
    for (const sys::DirEntry& entry : entries) {
      if (!glob.Matches(entry.name)) continue;
      RelPath path = directory.Join(entry.name);
      if (i + 1 < parts.size()) {
        TRY(ExpandParts(path, parts, i + 1, selector, out));
        continue;
      }
      TRY_ASSIGN(auto end, Follow(directory, entry.name, selector.follow_last));
      if (end) out->push_back(std::move(*end));
    }
    return Ok();
  }

  int root_fd_;
  ReachNode& reach_;
};

}  // namespace

void ReachNode::Add(const RelPath& path) {
  ReachNode* node = this;
  for (std::string_view part : path.Parts()) {
    if (node->all) return;
    auto& child = node->children[std::string(part)];
    if (!child) child = std::make_unique<ReachNode>();
    node = child.get();
  }
  node->all = true;
  node->children.clear();
}

Result<ReachNode> FindReach(int root_fd, const std::vector<tree::Selector>& selectors) {
  ReachNode reach;
  if (selectors.empty()) reach.all = true;
  Resolver resolver(root_fd, reach);
  for (const tree::Selector& selector : selectors) {
    if (!reach.all) TRY(resolver.AddSelector(selector));
  }
  return reach;
}

}  // namespace varve::source
