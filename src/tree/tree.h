// A Merkle model of a file tree: names, types, modes, owners, link targets, xattrs, content digests;
// never mtimes, inodes or hard links.
//
// A tree is named by the digest of its root Directory. A Directory object lists its entries sorted by
// name; a child directory is named by the digest of its own object, so that equal sub-trees are one
// object and comparing two trees costs what differs between them. The root directory's own mode and
// owner are not part of a tree (layers have no entry for "/": reference exporters.md §7.7).
//
// Encoding of a Directory object, version 1 (all integers LEB128 varints):
//
//   object  := "vt1\n" count entry*
//   entry   := name type mode uid gid body xattrs        entries sorted by name, bytewise, distinct
//   name    := length bytes                              not empty, no '/', not "." or ".."
//   type    := one byte of NodeType
//   body    := size digest     for kFile                 digest: 32 raw bytes
//            | digest          for kDirectory            of the child's object
//            | target          for kSymlink              length bytes
//            | rdev            for kCharDevice, kBlockDevice   (major << 32 | minor)
//            |                 for kFifo, kSocket
//   xattrs  := count (name value)*                       sorted by name; each length bytes
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/rel_path.h"
#include "base/result.h"

namespace varve::tree {

enum class NodeType : uint8_t {
  kFile = 1,
  kDirectory = 2,
  kSymlink = 3,
  kCharDevice = 4,
  kBlockDevice = 5,
  kFifo = 6,
  kSocket = 7,
};

using Xattrs = std::vector<std::pair<std::string, std::string>>;  // sorted by name

struct Node {
  std::string name;
  NodeType type = NodeType::kFile;
  uint32_t mode = 0;  // permission, setuid, setgid, sticky: at most 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;   // kFile
  Digest digest;       // kFile: of the content; kDirectory: of its Directory object
  std::string target;  // kSymlink
  uint64_t rdev = 0;   // devices: major << 32 | minor
  Xattrs xattrs;

  bool IsDirectory() const { return type == NodeType::kDirectory; }
  bool operator==(const Node&) const = default;
};

struct Directory {
  std::vector<Node> entries;  // sorted by name

  const Node* Find(std::string_view name) const;
};

std::string Encode(const Directory& directory);
Result<Directory> Decode(std::string_view object);  // kCorrupt: foreign bytes are possible

// Digest of the tree without any entry: the scratch root.
const Digest& EmptyTree();

// Where Directory objects live. Implementations are safe from any thread.
class TreeStore {
 public:
  virtual ~TreeStore() = default;
  // Absent is an empty pointer: objects may have been collected, or live in a remote tier.
  virtual Result<std::shared_ptr<const Directory>> Get(const Digest& digest) = 0;
  // Stores encoded objects, each named by its digest. Objects already there are skipped; a digest may
  // come twice in one call, since equal directories are one object.
  virtual Status Put(const std::vector<std::pair<Digest, std::string>>& objects) = 0;
  // The same for a few objects that nothing stored refers to yet: Get finds them at once, and they are
  // stored before anything that the same store is given and that may name them. Who only asks, stores
  // nothing.
  virtual Status PutLater(std::vector<std::pair<Digest, std::string>> objects) { return Put(objects); }
};

// The directory named by `digest`. kCorrupt, naming the digest, when the store does not have it.
Result<std::shared_ptr<const Directory>> GetDirectory(TreeStore& store, const Digest& digest);

// Deepest path that is accepted, in parts. A path that Linux can name is at most 4096 bytes, which
// is 2048 parts; the limit keeps recursion over foreign trees and archives off the end of the stack.
inline constexpr size_t kMaxDepth = 2048;

class MemoryTreeStore final : public TreeStore {
 public:
  Result<std::shared_ptr<const Directory>> Get(const Digest& digest) override;
  Status Put(const std::vector<std::pair<Digest, std::string>>& objects) override;
  size_t size();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_ = MakeImpl();
  static std::shared_ptr<Impl> MakeImpl();
};

// The node at `path`, symlinks in it not followed; absent: nothing. The root gives a nameless
// directory node, mode 0755. kCorrupt with the digest when a needed object is not in the store.
Result<std::optional<Node>> Lookup(TreeStore& store, const Digest& root, const RelPath& path);

// The path that `path` leads to when symlinks are followed inside the tree, as in a chroot (".."
// and absolute targets stay inside). The last part is followed only if `follow_last`. Parts that do
// not exist are kept as written. kInvalid after 255 links ("too many levels of symbolic links").
Result<RelPath> ResolveLinks(TreeStore& store, const Digest& root, const RelPath& path, bool follow_last);

// Edits a tree without loading what it does not touch. One thread.
//
//   TreeEditor edit(store, parent_root);
//   TRY(edit.Put(RelPath("etc/motd"), node));
//   TRY_ASSIGN(Digest root, edit.Commit());
class TreeEditor {
 public:
  TreeEditor(TreeStore& store, const Digest& root);
  ~TreeEditor();

  // As tree::Lookup, edits included; the digest of a directory is that of the last Commit.
  Result<std::optional<Node>> Lookup(const RelPath& path);
  // Creates or replaces. node.name is ignored: the path names it. A directory put over a directory
  // keeps the children; anything else replaces the whole sub-tree. Where no directory was, a directory
  // gets the children that node.digest names, none when it is all zero: that grafts a sub-tree of the
  // same store without loading it. Missing parents are made as 0755 0:0 directories; a parent that is
  // no directory is kInvalid. The root can only be put as a directory, which changes nothing.
  Status Put(const RelPath& path, Node node);
  Status Remove(const RelPath& path);         // absent is fine
  Status ClearChildren(const RelPath& path);  // an opaque directory; absent is fine
  // Stores the new objects and returns the new root. The editor goes on from there.
  Result<Digest> Commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::tree
