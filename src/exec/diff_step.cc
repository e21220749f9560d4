#include "exec/diff_step.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/metric.h"
#include "exec/layer_writer.h"
#include "sys/open.h"

namespace varve::exec {

namespace {

using tree::Directory;
using tree::Node;
using tree::NodeType;

class DiffWriter {
 public:
  DiffWriter(LayerWriter& writer, tree::TreeStore& trees, int upper_root, std::stop_token stop)
      : writer_(writer), trees_(trees), upper_root_(upper_root), stop_(std::move(stop)) {}

  // Both directories at `path`, given by their objects.
  Status Compare(const RelPath& path, const Digest& below, const Digest& above) {
    if (below == above) return Ok();
    if (stop_.stop_requested()) return Cancelled("cancelled");
    if (path.Parts().size() > tree::kMaxDepth)
      return Corrupt("tree is nested more than {} directories", tree::kMaxDepth);
    TRY_ASSIGN(auto old_entries, tree::GetDirectory(trees_, below));
    TRY_ASSIGN(auto new_entries, tree::GetDirectory(trees_, above));
    for (const Node& old : old_entries->entries) {
      if (new_entries->Find(old.name) == nullptr) TRY(writer_.Remove(path.Join(old.name)));
    }
    for (const Node& node : new_entries->entries) {
      TRY(CompareNode(path.Join(node.name), old_entries->Find(node.name), node));
    }
    return Ok();
  }

 private:
  Status CompareNode(const RelPath& path, const Node* old, const Node& node) {
    if (old != nullptr && *old == node) return Ok();
    if (old != nullptr && old->IsDirectory() != node.IsDirectory()) {
      TRY(writer_.Remove(path));
      old = nullptr;
    }
    if (!node.IsDirectory()) return Put(path, node);
    Node same_content = node;
    if (old != nullptr) same_content.digest = old->digest;
    if (old == nullptr || same_content != *old) TRY(PutDirectory(path, node));
    return Compare(path, old == nullptr ? tree::EmptyTree() : old->digest, node.digest);
  }

  Attributes AttributesOf(const Node& node, const struct stat& st) const {
    Timestamp time{st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec};
    return {.mode = node.mode, .uid = node.uid, .gid = node.gid, .mtime = time, .xattrs = node.xattrs};
  }

  Status PutDirectory(const RelPath& path, const Node& node) {
    TRY_ASSIGN(Fd fd, sys::OpenInRoot(upper_root_, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    struct stat st;
    if (fstat(fd.get(), &st) != 0) return ErrnoError(errno, "stat " + path.Absolute());
    Attributes attributes = AttributesOf(node, st);
    TRY(writer_.Directory(path, attributes));
    return writer_.SetDirectory(path, attributes);
  }

  Status Put(const RelPath& path, const Node& node) {
    if (node.type == NodeType::kSocket) return Ok();
    TRY(writer_.Directory(path.Parent(), {}));
    TRY(writer_.ClearForFile(path));
    int flags = node.type == NodeType::kFile ? O_RDONLY : O_PATH;
    TRY_ASSIGN(Fd fd, sys::OpenInRoot(upper_root_, path, flags | O_NOFOLLOW));
    struct stat st;
    if (fstat(fd.get(), &st) != 0) return ErrnoError(errno, "stat " + path.Absolute());
    Attributes attributes = AttributesOf(node, st);
    if (node.type == NodeType::kFile) return writer_.PutFile(path, attributes, fd.get());
    if (node.type == NodeType::kSymlink) return writer_.PutSymlink(path, attributes, node.target);
    return writer_.PutDevice(path, attributes, node.type, node.rdev);
  }

  LayerWriter& writer_;
  tree::TreeStore& trees_;
  const int upper_root_;
  const std::stop_token stop_;
};

}  // namespace

Result<cache::Rootfs> RunDiffStep(const Job& job, const engine::RunInput& lower, const engine::RunInput& upper,
                                  std::stop_token stop) {
  METRIC("exec.diff_step");
  TRY_ASSIGN(auto draft, job.layers.NewDraft());
  {
    TRY_ASSIGN(InputFiles files, OpenInput(job, upper));
    LayerWriter writer(job.layers, job.trees, lower.rootfs, *draft);
    DiffWriter diff(writer, job.trees, files.root.get(), stop);
    TRY(diff.Compare(RelPath(), lower.rootfs.tree_root, upper.rootfs.tree_root));
    TRY(writer.Finish());
  }
  TRY_ASSIGN(snapshot::Layer layer, CommitLeased(job, std::move(draft), {}, stop));
  return WithLayer(job, {{}, tree::EmptyTree()}, layer.diff_id);
}

}  // namespace varve::exec
