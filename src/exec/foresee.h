// The layer that a step of file actions would add, told from trees alone: nothing is read of the sources,
// and nothing is made. For `varve plan`, which says what the steps above a changed COPY will do.
//
// Follows what TreeCopy and LayerWriter do (a test compares the two, entry by entry), but for what needs
// more than names and attributes: archives that ADD may unpack, and removals.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/interfaces.h"
#include "graph/graph.h"
#include "tree/layer_index.h"
#include "tree/tree.h"

namespace varve::exec {

// A text file of an input, for the names of owners; nothing: it is not there, or its layer is not here.
using ReadInputFile = std::function<std::optional<std::string>(const cache::Rootfs& input, const char* path)>;

struct ForeseenFiles {
  engine::LayerContent content;
  Digest tree_root;  // of the file system with them
  tree::LayerIndex index;
  // Of files that are copied, by path: the input, and the path in it.
  std::map<std::string, std::pair<int, RelPath>> copied_from;
};

// `inputs`: as Step::inputs. Nothing where it cannot be told, or where the step would fail. New objects are
// put into `trees`.
Result<std::optional<ForeseenFiles>> ForeseeLayer(tree::TreeStore& trees, const graph::FileOp& op,
                                                  const std::vector<cache::Rootfs>& inputs, const ReadInputFile& read);

}  // namespace varve::exec
