#include "tree/selection.h"

namespace varve::tree {

namespace {

using Kind = Difference::Kind;

class Comparison {
 public:
  Comparison(TreeStore& store, size_t limit) : store_(store), limit_(limit) {}

  Status Nodes(const RelPath& path, const Node& before, const Node& after, size_t depth) {
    if (before.type != after.type) return Add(Kind::kType, path);
    if (before.target != after.target) return Add(Kind::kLink, path);
    bool file = !before.IsDirectory();
    if (file &&
        (before.digest != after.digest || before.size != after.size || before.rdev != after.rdev)) {
      return Add(Kind::kContent, path);
    }
    // Of several differences of one file the first in this order is told.
    if (before.mode != after.mode) {
      TRY(Add(Kind::kMode, path));
    } else if (before.uid != after.uid || before.gid != after.gid) {
      TRY(Add(Kind::kOwner, path));
    } else if (before.xattrs != after.xattrs) {
      TRY(Add(Kind::kXattr, path));
    }
    if (file || before.digest == after.digest) return Ok();
    return Directories(path, before.digest, after.digest, depth);
  }

  std::vector<Difference> differences;

 private:
  bool Full() const { return differences.size() >= limit_; }

  Status Add(Kind kind, const RelPath& path) {
    if (!Full()) differences.push_back({kind, path});
    return Ok();
  }

  Status Directories(const RelPath& path, const Digest& before_digest, const Digest& after_digest,
                     size_t depth) {
    if (depth > kMaxDepth) return Corrupt("tree is nested more than {} directories", kMaxDepth);
    TRY_ASSIGN(auto before, GetDirectory(store_, before_digest));
    TRY_ASSIGN(auto after, GetDirectory(store_, after_digest));
    auto b = before->entries.begin();
    auto a = after->entries.begin();
    while (!Full() && (b != before->entries.end() || a != after->entries.end())) {
      if (a == after->entries.end() || (b != before->entries.end() && b->name < a->name)) {
        TRY(Add(Kind::kRemoved, path.Join(b++->name)));
      } else if (b == before->entries.end() || a->name < b->name) {
        TRY(Add(Kind::kAdded, path.Join(a++->name)));
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
