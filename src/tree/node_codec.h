// The encoding of one Node without its name, shared by Directory objects, layer indexes and the
// preimages of selection digests:  type mode uid gid body xattrs  as in tree.h.
#pragma once

#include <string>
#include <string_view>

#include "base/wire.h"
#include "tree/tree.h"

namespace varve::tree {

// Whether a directory's body is the digest of its object. Where the children are listed by other
// means (a layer index, a filtered selection) it is left out.
enum class ChildDigest { kWrite, kOmit };

void AppendNode(std::string& out, const Node& node, ChildDigest child_digest);

// False for foreign bytes. node->name is left alone.
bool ReadNode(Cursor& in, Node* node, ChildDigest child_digest);

// A name that a directory entry can have: not empty, no '/' and no NUL, not "." or "..".
bool IsEntryName(std::string_view name);

// What a Directory object starts with.
void AppendDirectoryHeader(std::string& out, size_t entries);

}  // namespace varve::tree
