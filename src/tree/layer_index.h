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
  bool whiteout = false;  // removes `path` of the layers below; node is unused
  bool opaque = false;    // a directory that hides what the layers below have in it
  bool implicit = false;  // a parent that the tar did not list: attributes come from below if there
  Node node;              // name is empty: the path names it
};

// In an order in which parents come before children and whiteouts before entries of the same parent.
using LayerIndex = std::vector<LayerEntry>;

std::string EncodeLayerIndex(const LayerIndex& index);          // versioned, see the .cc
Result<LayerIndex> DecodeLayerIndex(std::string_view encoded);  // kCorrupt

// The same in parts, for layers of so many entries that a list of them is felt: an encoded index is
// what LayerIndexHeader says of the number of entries, and then each entry as AppendLayerEntry.
std::string LayerIndexHeader(size_t entries);
void AppendLayerEntry(std::string& out, const LayerEntry& entry);

// Reads an encoded index from the front. Does not own it.
class LayerIndexReader {
 public:
  static Result<LayerIndexReader> Open(std::string_view encoded);  // kCorrupt
  // False after the last entry.
  Result<bool> Next(LayerEntry* entry);
  size_t entries() const { return entries_; }

 private:
  LayerIndexReader(std::string_view rest, size_t entries) : rest_(rest), entries_(entries) {}
  std::string_view rest_;
  size_t entries_ = 0;  // in all
  size_t read_ = 0;
};

// The tree after `index` is applied on `parent`.
Result<Digest> ApplyLayer(TreeStore& store, const Digest& parent, const LayerIndex& index);

}  // namespace varve::tree
