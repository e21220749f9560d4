// Whether a layer is what file actions write, told from the layer alone: without the file systems below
// it, which may be gigabytes that nothing else needs.
//
// What the actions write is compared with what the layer has, entry by entry: type, mode, owner,
// content. Only the stack below could tell three things: where a symlink on the way to a destination
// leads (then the layer has nothing at the destination, and the answer is kUnknown), which attributes
// directories on the way to what was written had before, and which numbers the names of a --chown
// are. Attributes and numbers are taken as the layer says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "tree/layer_index.h"

namespace varve::previous {

struct Evidence {
  enum class Kind { kSame, kDiffers, kUnknown };
  Kind kind = Kind::kUnknown;
  std::string why;  // kDiffers: "/a.txt is not as in the image (content changed)"
};

// `ops` write the layer together, in order; `inputs`: of each, as for ApplyFileOp.
Result<Evidence> JudgeLayer(tree::TreeStore& trees, const tree::LayerIndex& layer,
                            const std::vector<const graph::FileOp*>& ops,
                            const std::vector<std::vector<std::optional<Digest>>>& inputs);

// The action with an owner in numbers where it names one.
graph::FileOp WithOwner(const graph::FileOp& op, uint32_t uid, uint32_t gid);

// The first difference between what the image has and what the step makes, for people; empty: none.
Result<std::string> FirstDifference(tree::TreeStore& trees, const Digest& of_image, const Digest& made);

}  // namespace varve::previous
