#include "tree/merged_layers.h"

#include <algorithm>

namespace varve::tree {

namespace {

// Overlayfs's own, so that no file of a layer has it.
const std::pair<std::string, std::string> kMark = {"trusted.overlay.opaque", "y"};

void Mark(Node& directory) {
  directory.xattrs.insert(std::ranges::lower_bound(directory.xattrs, kMark), kMark);
}

Status PutEntries(TreeEditor& edit, TreeStore& trees, const RelPath& at, const Digest& directory) {
  TRY_ASSIGN(auto entries, GetDirectory(trees, directory));
  for (Node node : entries->entries) {
    RelPath path = at.Join(node.name);
    TRY_ASSIGN(auto covered, edit.Lookup(path));
    const bool is_directory = node.IsDirectory(), merges = is_directory && covered && covered->IsDirectory();
    const Digest inside = node.digest;
    if (is_directory && covered && (!merges || HidesBelow(*covered))) Mark(node);
    const bool more = merges && covered->digest != inside;
    TRY(edit.Put(path, std::move(node)));
    if (more) TRY(PutEntries(edit, trees, path, inside));
  }
  return Ok();
}

}  // namespace

Result<Digest> MergeLayers(TreeStore& trees, const Digest& lower, const Digest& upper) {
  if (lower == upper) return lower;
  TreeEditor edit(trees, lower);
  TRY(PutEntries(edit, trees, RelPath(), upper));
  return edit.Commit();
}

bool HidesBelow(const Node& node) {
  return node.IsDirectory() && std::ranges::binary_search(node.xattrs, kMark);
}

}  // namespace varve::tree
