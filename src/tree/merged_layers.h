// The one layer that layers lying directly on each other make together, as overlayfs shows them.
//
// Only of layers that remove nothing. One trace is left of what lies below: where a directory covers
// something that is none, overlayfs goes no deeper for it, so that it hides the directory that layers below
// all of these have at its path. Such a directory is marked, if there is something to hide.
#pragma once

#include "tree/tree.h"

namespace varve::tree {

// `below`: what all layers below these make together; empty where that is not known.
Result<Digest> MergeLayers(TreeStore& trees, const Digest& lower, const Digest& upper, const Digest& below = {});

// Whether a directory of a merged layer hides what the layers below have in it.
bool HidesBelow(const Node& node);

}  // namespace varve::tree
