// Encoding of a LayerIndex, version 1 (integers are LEB128 varints, as in tree.h):
//
//   index := "vl1\n" count entry*
//   entry := flags path            flags with kWhiteout
//          | flags path node       all others
//   flags := one byte: 1 whiteout, 2 opaque, 4 implicit
//   path  := length bytes          normalised, relative; empty for the root
//   node  := type mode uid gid body xattrs    as in tree.h, a directory's digest left out
//
// Version history: 1, the first.
#include "tree/layer_index.h"

#include <algorithm>

#include "tree/node_codec.h"

namespace varve::tree {

namespace {

constexpr std::string_view kMagic = "vl1\n";
constexpr uint8_t kWhiteout = 1;
constexpr uint8_t kOpaque = 2;
constexpr uint8_t kImplicit = 4;

bool ReadEntry(Cursor& in, LayerEntry* entry) {
  uint8_t flags;
  std::string_view path;
  if (!in.Byte(&flags) || flags > (kWhiteout | kOpaque | kImplicit) || !in.Bytes(&path)) {
    return false;
  }
  entry->path = RelPath(path);
  if (entry->path.str() != path || path.find('\0') != path.npos) return false;
  entry->whiteout = flags & kWhiteout;
  entry->opaque = flags & kOpaque;
  entry->implicit = flags & kImplicit;
  if (entry->whiteout) return flags == kWhiteout;
  if (!ReadNode(in, &entry->node, ChildDigest::kOmit)) return false;
  return entry->node.IsDirectory() || flags == 0;
}

Status ApplyEntry(TreeEditor& edit, const LayerEntry& entry) {
  if (entry.whiteout) return edit.Remove(entry.path);
  if (entry.opaque) TRY(edit.ClearChildren(entry.path));
  if (entry.implicit) {
    TRY_ASSIGN(auto below, edit.Lookup(entry.path));
    if (below && below->IsDirectory()) return Ok();
    Node directory;
    directory.type = NodeType::kDirectory;
    directory.mode = 0755;
    return edit.Put(entry.path, std::move(directory));
  }
  Node node = entry.node;
  // An index describes one directory at a time; the children come as entries of their own.
  if (node.IsDirectory()) node.digest = Digest();
  return edit.Put(entry.path, std::move(node));
}

}  // namespace

std::string LayerIndexHeader(size_t entries) {
  std::string out(kMagic);
  PutVarint(out, entries);
  return out;
}

void AppendLayerEntry(std::string& out, const LayerEntry& entry) {
  int flags = entry.whiteout ? kWhiteout : (entry.opaque ? kOpaque : 0) | (entry.implicit ? kImplicit : 0);
  out.push_back(static_cast<char>(flags));
  PutBytes(out, entry.path.str());
  if (!entry.whiteout) AppendNode(out, entry.node, ChildDigest::kOmit);
}

std::string EncodeLayerIndex(const LayerIndex& index) {
  std::string out = LayerIndexHeader(index.size());
  out.reserve(16 + index.size() * 80);
  for (const LayerEntry& entry : index) AppendLayerEntry(out, entry);
  return out;
}

Result<LayerIndexReader> LayerIndexReader::Open(std::string_view encoded) {
  constexpr size_t kSmallestEntry = 3;  // a whiteout: flags, length, one byte
  if (!encoded.starts_with(kMagic)) return Corrupt("layer index does not start with \"vl1\"");
  Cursor in(encoded.substr(kMagic.size()));
  uint64_t count;
  if (!in.Varint(&count) || count > in.remaining() / kSmallestEntry + 1) {
    return Corrupt("layer index of {} bytes has a wrong entry count", encoded.size());
  }
  return LayerIndexReader(encoded.substr(encoded.size() - in.remaining()), count);
}

Result<bool> LayerIndexReader::Next(LayerEntry* entry) {
  if (read_ == entries_) {
    if (!rest_.empty()) return Corrupt("layer index has {} bytes too many", rest_.size());
    return false;
  }
  *entry = LayerEntry();
  Cursor in(rest_);
  if (!ReadEntry(in, entry)) return Corrupt("layer index is damaged at entry {}", read_);
  ++read_;
  rest_.remove_prefix(rest_.size() - in.remaining());
  return true;
}

Result<LayerIndex> DecodeLayerIndex(std::string_view encoded) {
  TRY_ASSIGN(auto in, LayerIndexReader::Open(encoded));
  LayerIndex index;
  // All at once rather than in doublings; a damaged count cannot ask for more than 12 times the file.
  index.reserve(std::min<size_t>(in.entries(), encoded.size() / 16));
  while (true) {
    LayerEntry entry;
    TRY_ASSIGN(bool more, in.Next(&entry));
    if (!more) return index;
    index.push_back(std::move(entry));
  }
}

Result<Digest> ApplyLayer(TreeStore& store, const Digest& parent, const LayerIndex& index) {
  TreeEditor edit(store, parent);
  for (const LayerEntry& entry : index) TRY(ApplyEntry(edit, entry));
  return edit.Commit();
}

}  // namespace varve::tree
