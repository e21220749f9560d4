#include "tree/merged_layers.h"

#include <algorithm>

namespace varve::tree {

namespace {

// Overlayfs's own, so that no file of a layer has it.
const std::pair<std::string, std::string> kMark = {"trusted.overlay.opaque", "y"};

void Mark(Node& directory) { directory.xattrs.insert(std::ranges::lower_bound(directory.xattrs, kMark), kMark); }

class Merge {
 public:
  Merge(TreeStore& trees, const Digest& lower, const Digest& below)
      : trees_(trees), below_(below), edit_(trees, lower) {}

  Status Put(const RelPath& at, const Digest& directory) {
    TRY_ASSIGN(auto entries, GetDirectory(trees_, directory));
    for (Node node : entries->entries) {
      RelPath path = at.Join(node.name);
      TRY_ASSIGN(auto covered, edit_.Lookup(path));
      const bool merges = node.IsDirectory() && covered && covered->IsDirectory();
      const Digest inside = node.digest;
      if (merges && HidesBelow(*covered)) Mark(node);
      if (node.IsDirectory() && covered && !merges) {
        TRY_ASSIGN(bool hides, IsDirectoryBelow(path));
        if (hides) Mark(node);
      }
      TRY(edit_.Put(path, std::move(node)));
      if (merges && covered->digest != inside) TRY(Put(path, inside));
    }
    return Ok();
  }

  Result<Digest> Finish() { return edit_.Commit(); }

 private:
  Result<bool> IsDirectoryBelow(const RelPath& path) {
    if (below_.empty()) return true;  // for all that is known
    TRY_ASSIGN(auto node, Lookup(trees_, below_, path));
    return node && node->IsDirectory();
  }

  TreeStore& trees_;
  const Digest& below_;
  TreeEditor edit_;
};

}  // namespace

Result<Digest> MergeLayers(TreeStore& trees, const Digest& lower, const Digest& upper, const Digest& below) {
  if (lower == upper) return lower;
  Merge merge(trees, lower, below);
  TRY(merge.Put(RelPath(), upper));
  return merge.Finish();
}

bool HidesBelow(const Node& node) { return node.IsDirectory() && std::ranges::binary_search(node.xattrs, kMark); }

}  // namespace varve::tree
