// What one layer changes, as a list: the form in which a layer meets the Merkle tree.
//
// Made in the same pass that reads a layer (unpacking a tar, or committing an upper directory), and
// kept beside the layer, so that trees of other stacks of the same layers cost no second read.
#pragma once

#include <string>
#include <vector>

#include "tree/tree.h"

namespace varve::tree {

struct LayerEntry {
  RelPath path;
  bool whiteout = false;   // removes `path` of the layers below; node is unused
  bool opaque = false;     // a directory that hides what the layers below have in it
  bool implicit = false;   // a parent that the tar did not list: attributes come from below if there
  Node node;               // name is empty: the path names it
};

// In an order in which parents come before children and whiteouts before entries of the same parent.
using LayerIndex = std::vector<LayerEntry>;

std::string EncodeLayerIndex(const LayerIndex& index);          // versioned, see the .cc
Result<LayerIndex> DecodeLayerIndex(std::string_view encoded);  // kCorrupt

// The tree after `index` is applied on `parent`.
Result<Digest> ApplyLayer(TreeStore& store, const Digest& parent, const LayerIndex& index);

}  // namespace varve::tree
