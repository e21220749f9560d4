// One Compose file in the form in which files are merged: short forms written out, lists that are
// mappings in disguise as mappings, paths absolute (reference compose-bake.md, A1, A10, A14).
#pragma once

#include <string>

#include "compose/node.h"

namespace varve::compose {

// `directory` is what relative paths start from. kInvalid, with its place, for keys that the format
// does not have (x-… are kept) and values of a wrong form.
Status Canonicalize(Node& file, const std::string& directory);
// One service of it.
Status CanonicalizeService(const std::string& name, Node& service, const std::string& directory);

// `upper` over `lower`, both canonical: mappings merge, sequences append, scalars are replaced, but
// for the exceptions of A10. Tags !reset and !override in `upper` remove and replace.
void Merge(Node& lower, const Node& upper);
// The same for one service.
void MergeService(Node& lower, const Node& upper);
// Removes what !reset marks, and the marks.
void DropResets(Node& node);

// `path` from `directory`, unless it is a URL or says another thing than a path.
std::string ResolvePath(const std::string& path, const std::string& directory);

}  // namespace varve::compose
