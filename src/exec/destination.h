// Where a file action writes: its paths led through the symlinks of the file system that it writes on, be that one
// that is being written (LayerWriter) or one that is foreseen (foresee.h).
#pragma once

#include <functional>
#include <optional>

#include "base/rel_path.h"
#include "base/result.h"
#include "graph/graph.h"
#include "tree/selection.h"
#include "tree/tree.h"

namespace varve::exec {

// What is at a path now, with everything that was written before; no symlink of it is followed.
using LookUp = std::function<Result<std::optional<tree::Node>>(const RelPath& path)>;

// As in a chroot. Parts that do not exist stay as written. kInvalid after 255 links.
Result<RelPath> FollowLinks(const RelPath& path, bool follow_last, const LookUp& look_up);

// The path that a match gets: `dest` is a directory when it ends in '/' or exists as one.
Result<RelPath> Destination(const graph::Copy& action, const tree::Match& match, const LookUp& look_up);

}  // namespace varve::exec
