// The tree of a file system with one more layer, made from the layer's entries while they come by.
//
// Does what ApplyLayer does, for the layers that are most of the work: new directories full of files,
// in the order of a walk. Of such a directory only its encoding is held, and only until the last of
// its entries has come; the rest goes through a TreeEditor. (ApplyLayer on 100,000 entries holds each
// of them twice, in the index and in the editor's maps.)
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tree/layer_index.h"
#include "tree/tree.h"

namespace varve::tree {

// One thread.
class LayerTree {
 public:
  LayerTree(TreeStore& store, const Digest& parent) : store_(store), edit_(store, parent) {}

  // Entries in walk order: parents first, a directory's entries by name, each directory's content
  // right behind it. No whiteouts, no opaque and no implicit directories. `fresh`: a directory where
  // the parent tree has nothing.
  Status Add(LayerEntry entry, bool fresh);
  Result<Digest> Finish();

 private:
  struct Open {
    LayerEntry self;
    std::string entries;  // encoded
    size_t count = 0;
  };

  Status CloseUntil(const RelPath& path);
  Status CloseLast();
  Status Place(LayerEntry entry);
  Status Store();

  TreeStore& store_;
  TreeEditor edit_;
  std::vector<Open> open_;  // fresh directories, each in the one before it
  std::vector<std::pair<Digest, std::string>> objects_;
  size_t object_bytes_ = 0;
};

}  // namespace varve::tree
