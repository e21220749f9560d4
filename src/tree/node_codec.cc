#include "tree/node_codec.h"

namespace varve::tree {

namespace {

constexpr uint32_t kModeMask = 07777;

bool ReadXattrs(Cursor& in, Xattrs* xattrs) {
  uint64_t count;
  // Each xattr takes at least three bytes: a count from foreign bytes must not size an allocation.
  if (!in.Varint(&count) || count > in.remaining() / 3) return false;
  xattrs->clear();
  xattrs->reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    std::string_view name, value;
    if (!in.Bytes(&name) || !in.Bytes(&value) || name.empty()) return false;
    if (!xattrs->empty() && name <= xattrs->back().first) return false;
    xattrs->emplace_back(name, value);
  }
  return true;
}

}  // namespace

void AppendNode(std::string& out, const Node& node, ChildDigest child_digest) {
  out.push_back(static_cast<char>(node.type));
  PutVarint(out, node.mode & kModeMask);
  PutVarint(out, node.uid);
  PutVarint(out, node.gid);
  switch (node.type) {
    case NodeType::kFile:
      PutVarint(out, node.size);
      out.append(node.digest.raw());
      break;
    case NodeType::kDirectory:
      if (child_digest == ChildDigest::kWrite) out.append(node.digest.raw());
      break;
    case NodeType::kSymlink:
      PutBytes(out, node.target);
      break;
    case NodeType::kCharDevice:
    case NodeType::kBlockDevice:
      PutVarint(out, node.rdev);
      break;
    case NodeType::kFifo:
    case NodeType::kSocket:
      break;
  }
  PutVarint(out, node.xattrs.size());
  for (const auto& [name, value] : node.xattrs) {
    PutBytes(out, name);
    PutBytes(out, value);
  }
}

bool ReadNode(Cursor& in, Node* node, ChildDigest child_digest) {
  uint8_t type;
  if (!in.Byte(&type) || type < static_cast<uint8_t>(NodeType::kFile) ||
      type > static_cast<uint8_t>(NodeType::kSocket)) {
    return false;
  }
  node->type = static_cast<NodeType>(type);
  if (!in.Varint32(&node->mode) || node->mode > kModeMask || !in.Varint32(&node->uid) || !in.Varint32(&node->gid)) {
    return false;
  }
  std::string_view bytes;
  switch (node->type) {
    case NodeType::kFile:
      if (!in.Varint(&node->size) || !in.Raw(Digest::kSize, &bytes)) return false;
      node->digest = Digest::FromBytes(bytes);
      break;
    case NodeType::kDirectory:
      if (child_digest == ChildDigest::kOmit) break;
      if (!in.Raw(Digest::kSize, &bytes)) return false;
      node->digest = Digest::FromBytes(bytes);
      break;
    case NodeType::kSymlink:
      if (!in.Bytes(&bytes) || bytes.find('\0') != bytes.npos) return false;
      node->target = bytes;
      break;
    case NodeType::kCharDevice:
    case NodeType::kBlockDevice:
      if (!in.Varint(&node->rdev)) return false;
      break;
    case NodeType::kFifo:
    case NodeType::kSocket:
      break;
  }
  return ReadXattrs(in, &node->xattrs);
}

bool IsEntryName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of(std::string_view("/\0", 2)) == name.npos;
}

void AppendDirectoryHeader(std::string& out, size_t entries) {
  out.append("vt1\n");
  PutVarint(out, entries);
}

}  // namespace varve::tree
