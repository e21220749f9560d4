#include "tree/layer_tree.h"

#include "tree/node_codec.h"

namespace varve::tree {

namespace {

constexpr size_t kBatch = 4 << 20;  // bytes of objects that one transaction stores

}  // namespace

Status LayerTree::Add(LayerEntry entry, bool fresh) {
  CHECK(!entry.whiteout && !entry.opaque && !entry.implicit && !entry.path.IsRoot());
  TRY(CloseUntil(entry.path));
  if (!fresh || !entry.node.IsDirectory()) return Place(std::move(entry));
  if (entry.path.Parts().size() > kMaxDepth) {
    return Invalid("path of {} parts is too deep: at most {} are possible", entry.path.Parts().size(), kMaxDepth);
  }
  open_.push_back({.self = std::move(entry), .entries = {}});
  return Ok();
}

Result<Digest> LayerTree::Finish() {
  TRY(CloseUntil(RelPath()));
  TRY(Store());
  return edit_.Commit();
}

Status LayerTree::CloseUntil(const RelPath& path) {
  while (!open_.empty() && !path.IsWithin(open_.back().self.path)) TRY(CloseLast());
  return Ok();
}

Status LayerTree::CloseLast() {
  Open done = std::move(open_.back());
  open_.pop_back();
  std::string object;
  object.reserve(16 + done.entries.size());
  AppendDirectoryHeader(object, done.count);
  object += done.entries;
  done.self.node.digest = Digest::Of(object);
  object_bytes_ += object.size();
  objects_.emplace_back(done.self.node.digest, std::move(object));
  if (object_bytes_ >= kBatch) TRY(Store());
  return Place(std::move(done.self));
}

Status LayerTree::Place(LayerEntry entry) {
  if (open_.empty()) return edit_.Put(entry.path, std::move(entry.node));
  Open& parent = open_.back();
  PutBytes(parent.entries, entry.path.Name());
  AppendNode(parent.entries, entry.node, ChildDigest::kWrite);
  ++parent.count;
  return Ok();
}

Status LayerTree::Store() {
  TRY(store_.Put(objects_));
  objects_.clear();
  object_bytes_ = 0;
  return Ok();
}

}  // namespace varve::tree
