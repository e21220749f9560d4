#include <algorithm>
#include <map>
#include <set>

#include "tree/selection.h"

namespace varve::tree {

namespace {

using Kind = Difference::Kind;

// As git and `ls` name a mode: type and permissions.
std::string ModeText(const Node& node) {
  constexpr uint32_t kTypeBits[] = {0, 0100000, 0040000, 0120000, 0020000, 0060000, 0010000, 0140000};
  return fmt::format("{:06o}", kTypeBits[static_cast<int>(node.type)] | node.mode);
}

std::string OwnerText(const Node& node) { return fmt::format("{}:{}", node.uid, node.gid); }

std::string_view TypeText(NodeType type) {
  constexpr std::string_view kNames[] = {"",       "file",         "directory", "symlink",
                                         "device", "block device", "fifo",      "socket"};
  return kNames[static_cast<int>(type)];
}

class Comparison {
 public:
  Comparison(TreeStore& store, size_t limit) : store_(store), limit_(limit) {}

  Status Nodes(const RelPath& path, const Node& before, const Node& after, size_t depth) {
    Attributes(path, before, after);
    bool both = before.IsDirectory() && after.IsDirectory();
    if (!both || before.digest == after.digest) return Ok();
    return Directories(path, before.digest, after.digest, depth);
  }

  // All that two nodes say of themselves: of several differences of one file the first in this order
  // is told. Content of directories is left out.
  void Attributes(const RelPath& path, const Node& before, const Node& after) {
    auto changed = [](const auto& was, const auto& is) { return fmt::format("{} → {}", was, is); };
    if (before.type != after.type) {
      Add(Kind::kType, path, changed(TypeText(before.type), TypeText(after.type)));
    } else if (before.target != after.target) {
      Add(Kind::kLink, path, changed(before.target, after.target));
    } else if (!before.IsDirectory() &&
               (before.digest != after.digest || before.size != after.size || before.rdev != after.rdev)) {
      Add(Kind::kContent, path);
    } else if (before.mode != after.mode) {
      Add(Kind::kMode, path, changed(ModeText(before), ModeText(after)));
    } else if (before.uid != after.uid || before.gid != after.gid) {
      Add(Kind::kOwner, path, changed(OwnerText(before), OwnerText(after)));
    } else if (before.xattrs != after.xattrs) {
      Add(Kind::kXattr, path);
    }
  }

  void Add(Kind kind, const RelPath& path, std::string detail = {}) {
    if (!Full()) differences.push_back({kind, path, std::move(detail)});
  }

  std::vector<Difference> differences;

 private:
  bool Full() const { return differences.size() >= limit_; }

  Status Directories(const RelPath& path, const Digest& before_digest, const Digest& after_digest, size_t depth) {
    if (depth > kMaxDepth) return Corrupt("tree is nested more than {} directories", kMaxDepth);
    TRY_ASSIGN(auto before, GetDirectory(store_, before_digest));
    TRY_ASSIGN(auto after, GetDirectory(store_, after_digest));
    auto b = before->entries.begin();
    auto a = after->entries.begin();
    while (!Full() && (b != before->entries.end() || a != after->entries.end())) {
      if (a == after->entries.end() || (b != before->entries.end() && b->name < a->name)) {
        Add(Kind::kRemoved, path.Join(b++->name));
      } else if (b == before->entries.end() || a->name < b->name) {
        Add(Kind::kAdded, path.Join(a++->name));
      } else {
        if (*a != *b) TRY(Nodes(path.Join(a->name), *b, *a, depth + 1));
        ++a;
        ++b;
      }
    }
    return Ok();
  }

  TreeStore& store_;
  size_t limit_;
};

}  // namespace

Result<std::vector<Difference>> Compare(TreeStore& store, const Digest& before, const Digest& after,
                                        const RelPath& below, size_t limit) {
  TRY_ASSIGN(auto old_node, Lookup(store, before, below));
  TRY_ASSIGN(auto new_node, Lookup(store, after, below));
  Comparison comparison(store, limit);
  if (old_node && new_node) {
    TRY(comparison.Nodes(below, *old_node, *new_node, 0));
  } else if ((old_node || new_node) && limit > 0) {
    comparison.differences.push_back({old_node ? Kind::kRemoved : Kind::kAdded, below});
  }
  return std::move(comparison.differences);
}

namespace {

using Selected = std::map<RelPath, Node>;

Result<Selected> Select(TreeStore& store, const Digest& root, const Selector& selector) {
  Selected out;
  auto matches = FindMatches(store, root, selector);
  if (!matches && matches.error().code == Code::kNotFound) return out;
  if (!matches) return Error(std::move(matches).error());
  for (const Match& match : *matches) out.emplace(match.path, match.node);
  return out;
}

// Which of `paths` the selector's patterns let through in the tree `root`.
Status AddLetThrough(TreeStore& store, const Digest& root, const Selector& selector, const std::set<RelPath>& paths,
                     std::set<RelPath>& out) {
  auto matches = FindMatches(store, root, selector);
  if (!matches && matches.error().code == Code::kNotFound) return Ok();
  if (!matches) return Error(std::move(matches).error());
  for (const Match& match : *matches) {
    TRY(WalkMatch(store, selector, match, [&](const RelPath& below, const Node&) -> Status {
      RelPath path = below.IsRoot() ? match.path : match.path.Join(below.str());
      if (paths.contains(path)) out.insert(std::move(path));
      return Ok();
    }));
  }
  return Ok();
}

Status CompareMatches(TreeStore& store, const Digest& before, const Digest& after, const Selector& selector,
                      Comparison& comparison) {
  TRY_ASSIGN(Selected was, Select(store, before, selector));
  TRY_ASSIGN(Selected is, Select(store, after, selector));
  for (const auto& [path, node] : was) {
    auto now = is.find(path);
    if (now == is.end()) {
      comparison.Add(Kind::kRemoved, path);
    } else {
      TRY(comparison.Nodes(path, node, now->second, 0));
    }
  }
  for (const auto& [path, node] : is) {
    if (!was.contains(path)) comparison.Add(Kind::kAdded, path);
  }
  return Ok();
}

}  // namespace

Result<std::vector<Difference>> CompareSelected(TreeStore& store, const Digest& before, const Digest& after,
                                                const std::vector<Selector>& selectors, size_t limit) {
  std::vector<Difference> found;
  for (const Selector& selector : selectors) {
    // Only what differs is kept: with patterns, the walk over the rest costs time but no memory.
    constexpr size_t kMaxUnfiltered = 100'000;
    bool filtered = !selector.include.empty() || !selector.exclude.empty();
    Comparison comparison(store, filtered ? std::max(limit, kMaxUnfiltered) : limit);
    TRY(CompareMatches(store, before, after, selector, comparison));
    if (filtered && !comparison.differences.empty()) {
      std::set<RelPath> paths, through;
      for (const Difference& difference : comparison.differences) paths.insert(difference.path);
      TRY(AddLetThrough(store, before, selector, paths, through));
      TRY(AddLetThrough(store, after, selector, paths, through));
      std::erase_if(comparison.differences, [&](const Difference& d) { return !through.contains(d.path); });
    }
    found.insert(found.end(), comparison.differences.begin(), comparison.differences.end());
  }
  // Selectors may overlap.
  std::ranges::stable_sort(found, {}, &Difference::path);
  auto same = std::ranges::unique(found, {}, &Difference::path);
  found.erase(same.begin(), same.end());
  if (found.size() > limit) found.resize(limit);
  return found;
}

std::string_view DifferenceName(Difference::Kind kind) {
  switch (kind) {
    case Kind::kAdded:
      return "added";
    case Kind::kRemoved:
      return "removed";
    case Kind::kContent:
      return "content changed";
    case Kind::kMode:
      return "mode changed";
    case Kind::kOwner:
      return "owner changed";
    case Kind::kType:
      return "type changed";
    case Kind::kLink:
      return "link target changed";
    case Kind::kXattr:
      return "xattr changed";
  }
  return "changed";
}

}  // namespace varve::tree
