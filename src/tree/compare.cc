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
  constexpr std::string_view kNames[] = {"",     "file",         "directory", "symlink", "device",
                                         "block device", "fifo", "socket"};
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
    } else if (!before.IsDirectory() && (before.digest != after.digest ||
                                         before.size != after.size || before.rdev != after.rdev)) {
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

  Status Directories(const RelPath& path, const Digest& before_digest, const Digest& after_digest,
                     size_t depth) {
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

// What one selector lets through, by path: whole matches, or single files where it has patterns.
using Selected = std::map<RelPath, Node>;

Result<Selected> Select(TreeStore& store, const Digest& root, const Selector& selector) {
  Selected out;
  auto matches = FindMatches(store, root, selector);
  if (!matches && matches.error().code == Code::kNotFound) return out;
  if (!matches) return Error(std::move(matches).error());
  bool filtered = !selector.include.empty() || !selector.exclude.empty();
  for (const Match& match : *matches) {
    if (!filtered) {
      out.emplace(match.path, match.node);
      continue;
    }
    TRY(WalkMatch(store, selector, match, [&](const RelPath& below, const Node& node) -> Status {
      out.emplace(below.IsRoot() ? match.path : match.path.Join(below.str()), node);
      return Ok();
    }));
  }
  return out;
}

}  // namespace

Result<std::vector<Difference>> CompareSelected(TreeStore& store, const Digest& before,
                                                const Digest& after,
                                                const std::vector<Selector>& selectors,
                                                size_t limit) {
  Comparison comparison(store, limit);
  for (const Selector& selector : selectors) {
    TRY_ASSIGN(Selected was, Select(store, before, selector));
    TRY_ASSIGN(Selected is, Select(store, after, selector));
    bool filtered = !selector.include.empty() || !selector.exclude.empty();
    for (const auto& [path, node] : was) {
      auto now = is.find(path);
      if (now == is.end()) {
        comparison.Add(Kind::kRemoved, path);
      } else if (filtered) {
        comparison.Attributes(path, node, now->second);
      } else {
        TRY(comparison.Nodes(path, node, now->second, 0));
      }
    }
    for (const auto& [path, node] : is) {
      if (!was.contains(path)) comparison.Add(Kind::kAdded, path);
    }
  }
  // Selectors may overlap.
  auto& found = comparison.differences;
  std::ranges::stable_sort(found, {}, &Difference::path);
  auto same = std::ranges::unique(found, {}, &Difference::path);
  found.erase(same.begin(), same.end());
  return std::move(found);
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
