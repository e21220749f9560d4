// The part of a tree that a step reads, and the digest of it: the content side of a StepKey.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "tree/tree.h"

namespace varve::tree {

// One source path of a COPY, or the source of a read-only mount.
struct Selector {
  std::string path;                  // relative to the tree's root; may hold wildcards
  bool wildcards = false;            // `path` is a pattern (Go's filepath.Match per part)
  bool allow_empty = false;          // no match is no error
  bool follow_last = true;           // a symlink as the last part is followed (reference §5 rule 5)
  std::vector<std::string> include;  // patterns below the selected path; empty: all
  std::vector<std::string> exclude;  // patterns below the selected path (.dockerignore syntax)
  bool parents = false;              // COPY --parents: keep the path; `**` allowed; `/./` pivot

  Json ToJson() const;  // canonical, part of the key preimage
  bool operator==(const Selector&) const = default;
};

// A file or directory that a selector matched.
//
// With `parents`, the directories between the pivot and the match take part too: a copy makes them
// with the attributes that they have in the tree, and a SelectionDigest covers those.
struct Match {
  RelPath path;           // in the tree, links resolved as the selector asks
  std::string dest_name;  // name that the copy gives it: last part, or the kept path with `parents`
  Node node;
  bool operator==(const Match&) const = default;
};

// All matches, in the order of a walk (sorted by path, part by part, as Go's filepath.Walk: later
// ones overwrite earlier ones at the destination). kNotFound `"/x": not found` (the text users know)
// where a selector without wildcards, or with them and not allow_empty, matches nothing, and for a
// link that leads nowhere.
//
// A directory that matches is one match and nothing below it is another. Wildcards do not look
// through symlinks. A file that was matched by a wildcard is left out when `exclude` matches its path
// below the fixed part; a file named without wildcards is never filtered.
Result<std::vector<Match>> FindMatches(TreeStore& store, const Digest& root, const Selector& selector);

// Visits what of a match the selector's include and exclude let through: the match itself (an empty
// `below`), then everything in it, parents before children, sorted by name. A directory that the
// patterns do not let through is visited all the same, before the first thing in it that they do. A
// directory's node.digest is that of the unfiltered object.
using VisitSelected = std::function<Status(const RelPath& below, const Node& node)>;
Status WalkMatch(TreeStore& store, const Selector& selector, const Match& match, const VisitSelected& visit);

// Digest of everything that a copy of these selectors can see: the matches' names, attributes and
// content, filtered by include and exclude. A whole directory costs one look-up (its object's
// digest); only filtered directories are walked. Two trees that differ outside of the selection give
// the same digest.
Result<Digest> SelectionDigest(TreeStore& store, const Digest& root, const std::vector<Selector>& selectors);

// Paths that differ between two trees, for explanations, at most `limit`.
struct Difference {
  enum class Kind { kAdded, kRemoved, kContent, kMode, kOwner, kType, kLink, kXattr };
  Kind kind;
  RelPath path;
  std::string detail = {};  // "100755 → 100644", "0:0 → 1000:1000", "a → b"; empty for other kinds
};
Result<std::vector<Difference>> Compare(TreeStore& store, const Digest& before, const Digest& after,
                                        const RelPath& below, size_t limit);
// The same of what selectors let through: what made one SelectionDigest into another. By path.
Result<std::vector<Difference>> CompareSelected(TreeStore& store, const Digest& before, const Digest& after,
                                                const std::vector<Selector>& selectors, size_t limit);
std::string_view DifferenceName(Difference::Kind kind);  // "added", "content changed", …

}  // namespace varve::tree
