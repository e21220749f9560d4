#include <optional>

#include "tree/pattern.h"
#include "tree/selection.h"

namespace varve::tree {

namespace {

Error PathNotFound(std::string_view path) { return NotFound("\"{}\": not found", CleanPath("/" + std::string(path))); }

// The selected path cut where its wildcards begin.
struct SplitPath {
  RelPath fixed;
  std::vector<Glob> parts;
};

Result<SplitPath> SplitAtWildcards(std::string_view path, bool wildcards) {
  SplitPath out;
  RelPath whole(path);
  for (std::string_view part : whole.Parts()) {
    if (out.parts.empty() && !(wildcards && HasWildcards(part))) {
      out.fixed = out.fixed.Join(part);
    } else {
      TRY_ASSIGN(Glob glob, Glob::CompileFileMatch(part));
      out.parts.push_back(std::move(glob));
    }
  }
  return out;
}

class Finder {
 public:
  Finder(TreeStore& store, const Digest& root, const Selector& selector)
      : store_(store), root_(root), selector_(selector) {}

  Result<std::vector<Match>> Run() {
    if (!selector_.exclude.empty()) {
      TRY_ASSIGN(exclude_, PatternList::Compile(selector_.exclude));
    }
    return selector_.parents ? FindWithParents() : Find(selector_.path);
  }

 private:
  Result<std::vector<Match>> Find(std::string_view path) {
    TRY_ASSIGN(SplitPath split, SplitAtWildcards(path, selector_.wildcards));
    std::vector<Match> out;
    if (split.parts.empty()) {
      TRY_ASSIGN(RelPath parent, ResolveLinks(store_, root_, split.fixed.Parent(), true));
      TRY(AddFollowed(parent.Join(split.fixed.Name()), nullptr, &out));
      return out;
    }
    TRY_ASSIGN(RelPath base, ResolveLinks(store_, root_, split.fixed, selector_.follow_last));
    TRY_ASSIGN(auto node, Lookup(store_, root_, base));
    if (node && node->IsDirectory()) {
      TRY(Expand(base, base, *node, split.parts, 0, &out));
    }
    return out;
  }

  // Adds what matches parts[i…] below `directory`.
  Status Expand(const RelPath& base, const RelPath& directory, const Node& node, const std::vector<Glob>& parts,
                size_t i, std::vector<Match>* out) {
    TRY_ASSIGN(auto children, GetDirectory(store_, node.digest));
    for (const Node& child : children->entries) {
      if (!parts[i].Matches(child.name)) continue;
      RelPath path = directory.Join(child.name);
      if (i + 1 < parts.size()) {
        if (child.IsDirectory()) TRY(Expand(base, path, child, parts, i + 1, out));
        continue;
      }
      if (exclude_ && !child.IsDirectory()) {
        size_t skip = base.IsRoot() ? 0 : base.str().size() + 1;
        if (exclude_->MatchesWalking(std::string_view(path.str()).substr(skip))) continue;
      }
      TRY(AddFollowed(path, &child, out));
    }
    return Ok();
  }

  // `path` has no links but perhaps in its last part.
  Status AddFollowed(const RelPath& path, const Node* known, std::vector<Match>* out) {
    Match match;
    match.path = path;
    match.dest_name = path.Name();
    if (known == nullptr || known->type == NodeType::kSymlink) {
      TRY_ASSIGN(match.path, ResolveLinks(store_, root_, path, selector_.follow_last));
      TRY_ASSIGN(auto node, Lookup(store_, root_, match.path));
      if (!node) {
        Error error = PathNotFound(path.str());
        if (match.path != path) {
          error.hint = fmt::format("it is a symbolic link to {}", match.path.Absolute());
        }
        return error;
      }
      match.node = std::move(*node);
    } else {
      match.node = *known;
    }
    out->push_back(std::move(match));
    return Ok();
  }

  // COPY --parents: what is after "/./", or everything, is a pattern in .dockerignore's dialect
  // below what is before.
  Result<std::vector<Match>> FindWithParents() {
    std::string_view path = selector_.path;
    size_t pivot = path.find("/./");
    std::string_view base_path = pivot == path.npos ? "" : path.substr(0, pivot);
    RelPath pattern(pivot == path.npos ? path : path.substr(pivot + 3));
    TRY_ASSIGN(auto bases, Find(base_path));
    std::vector<Match> out;
    for (Match& base : bases) {
      if (!base.node.IsDirectory()) continue;
      base.dest_name.clear();
      if (pattern.IsRoot()) {
        out.push_back(std::move(base));
        continue;
      }
      if (!(selector_.wildcards && HasWildcards(pattern.str()))) {
        // A plain path takes one look-up per part, not a walk.
        RelPath whole = base.path.Join(pattern.str());
        TRY_ASSIGN(auto node, Lookup(store_, root_, whole));
        if (node) AddKept(whole, pattern.str(), *node, &out);
        continue;
      }
      TRY_ASSIGN(PatternList list, PatternList::Compile({pattern.str()}));
      TRY(ExpandKept(base.path, "", base.node, list, list.Top(), 0, &out));
    }
    return out;
  }

  Status ExpandKept(const RelPath& directory, const std::string& kept, const Node& node, const PatternList& list,
                    const PatternList::Walk& walk, size_t depth, std::vector<Match>* out) {
    if (depth > kMaxDepth) return Corrupt("tree is nested more than {} directories", kMaxDepth);
    TRY_ASSIGN(auto children, GetDirectory(store_, node.digest));
    PatternList::Walk child_walk;
    for (const Node& child : children->entries) {
      std::string name = kept.empty() ? child.name : kept + "/" + child.name;
      RelPath path = directory.Join(child.name);
      if (list.Matches(name, walk, &child_walk)) {
        AddKept(path, name, child, out);
      } else if (child.IsDirectory() && list.MayMatchBelow(name)) {
        TRY(ExpandKept(path, name, child, list, child_walk, depth + 1, out));
      }
    }
    return Ok();
  }

  void AddKept(const RelPath& path, const std::string& name, const Node& node, std::vector<Match>* out) {
    // An excluded directory stays: WalkMatch looks for what "!" patterns keep of it.
    if (exclude_ && !node.IsDirectory() && exclude_->MatchesWalking(name)) return;
    out->push_back({path, name, node});
  }

  TreeStore& store_;
  const Digest& root_;
  const Selector& selector_;
  std::optional<PatternList> exclude_;
};

}  // namespace

Result<std::vector<Match>> FindMatches(TreeStore& store, const Digest& root, const Selector& selector) {
  TRY_ASSIGN(auto matches, Finder(store, root, selector).Run());
  bool may_be_empty = selector.wildcards && HasWildcards(selector.path) && selector.allow_empty;
  if (matches.empty() && !may_be_empty) return PathNotFound(selector.path);
  return matches;
}

}  // namespace varve::tree
