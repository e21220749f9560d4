// The tree that file actions make, computed from trees alone: nothing is read or written on disk.
//
// What exec does to files is done to a tree::TreeEditor here, by the same rules (reference
// dockerfile.md §5). Some actions need more than trees; for those there is no answer, and why.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "tree/tree.h"

namespace varve::previous {

struct FileResult {
  std::optional<Digest> tree;
  std::string unknown;  // without a tree: "it may unpack an archive"
};

// `inputs`: the tree of each of the step's inputs that a Copy reads; the base's is `base`. Errors
// are those of the tree store, and of steps that cannot be carried out (a source that is not
// there).
Result<FileResult> ApplyFileOp(tree::TreeStore& trees, const graph::FileOp& op, const Digest& base,
                               const std::vector<std::optional<Digest>>& inputs);

}  // namespace varve::previous
