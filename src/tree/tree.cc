#include "tree/tree.h"

#include <algorithm>

#include "tree/node_codec.h"
#include "tree/pending_path.h"

namespace varve::tree {

namespace {

constexpr int kMaxLinks = 255;  // BuildKit's limit; Linux itself stops at 40

Node RootNode(const Digest& root) {
  Node node;
  node.type = NodeType::kDirectory;
  node.mode = 0755;
  node.digest = root;
  return node;
}

}  // namespace

const Node* Directory::Find(std::string_view name) const {
  auto it = std::lower_bound(entries.begin(), entries.end(), name,
                             [](const Node& node, std::string_view n) { return node.name < n; });
  return it != entries.end() && it->name == name ? &*it : nullptr;
}

std::string Encode(const Directory& directory) {
  std::string out;
  out.reserve(16 + directory.entries.size() * 64);
  AppendDirectoryHeader(out, directory.entries.size());
  const Node* previous = nullptr;
  for (const Node& node : directory.entries) {
    CHECK(IsEntryName(node.name) && (previous == nullptr || previous->name < node.name));
    previous = &node;
    PutBytes(out, node.name);
    AppendNode(out, node, ChildDigest::kWrite);
  }
  return out;
}

Result<Directory> Decode(std::string_view object) {
  constexpr std::string_view kMagic = "vt1\n";
  constexpr size_t kSmallestEntry = 7;  // name (2), type, mode, uid, gid, xattr count
  if (!object.starts_with(kMagic)) return Corrupt("tree object does not start with \"vt1\"");
  Cursor in(object.substr(kMagic.size()));
  uint64_t count;
  if (!in.Varint(&count) || count > in.remaining() / kSmallestEntry) {
    return Corrupt("tree object of {} bytes has a wrong entry count", object.size());
  }
  Directory directory;
  directory.entries.resize(count);
  for (size_t i = 0; i < count; ++i) {
    Node& node = directory.entries[i];
    std::string_view name;
    if (!in.Bytes(&name) || !IsEntryName(name) || (i > 0 && name <= directory.entries[i - 1].name)) {
      return Corrupt("tree object has a bad or misplaced name at entry {}", i);
    }
    node.name = name;
    if (!ReadNode(in, &node, ChildDigest::kWrite)) {
      return Corrupt("tree object is damaged at entry {}", i);
    }
  }
  if (!in.AtEnd()) return Corrupt("tree object has {} bytes too many", in.remaining());
  return directory;
}

const Digest& EmptyTree() {
  static const Digest digest = Digest::Of(Encode(Directory()));
  return digest;
}

Result<std::shared_ptr<const Directory>> GetDirectory(TreeStore& store, const Digest& digest) {
  // Many trees are empty and every store has this one, so it needs no look-up.
  static const auto empty = std::make_shared<const Directory>();
  if (digest == EmptyTree()) return empty;
  TRY_ASSIGN(auto directory, store.Get(digest));
  if (!directory) return Corrupt("tree object {} is not in the store", digest.ToString());
  return directory;
}

Result<std::optional<Node>> Lookup(TreeStore& store, const Digest& root, const RelPath& path) {
  Node node = RootNode(root);
  for (std::string_view part : path.Parts()) {
    if (!node.IsDirectory()) return std::optional<Node>();
    TRY_ASSIGN(auto directory, GetDirectory(store, node.digest));
    const Node* child = directory->Find(part);
    if (child == nullptr) return std::optional<Node>();
    node = *child;
  }
  return std::optional<Node>(std::move(node));
}

Result<RelPath> ResolveLinks(TreeStore& store, const Digest& root, const RelPath& path, bool follow_last) {
  PendingPath todo(path.str());

  RelPath resolved;
  // The directories that lead to `resolved`, so that ".." costs nothing; null once a part is not
  // there, from where on nothing can be looked up.
  std::vector<std::shared_ptr<const Directory>> stack;
  TRY_ASSIGN(auto top, GetDirectory(store, root));
  stack.push_back(std::move(top));
  int links = 0;
  while (!todo.empty()) {
    std::string part = todo.PopFront();
    if (part == "..") {
      resolved = resolved.Parent();
      if (stack.size() > 1) stack.pop_back();
      continue;
    }
    const Node* node = stack.back() ? stack.back()->Find(part) : nullptr;
    bool follow = !todo.empty() || follow_last;
    if (node != nullptr && node->type == NodeType::kSymlink && follow) {
      if (++links > kMaxLinks) {
        return Invalid("cannot resolve {}: too many levels of symbolic links", path.Absolute());
      }
      std::string target = node->target;
      if (target.starts_with('/')) {
        resolved = RelPath();
        stack.resize(1);
      }
      todo.PushFront(target);
      continue;
    }
    resolved = resolved.Join(part);
    std::shared_ptr<const Directory> next;
    if (node != nullptr && node->IsDirectory() && !todo.empty()) {
      TRY_ASSIGN(next, GetDirectory(store, node->digest));
    }
    stack.push_back(std::move(next));
  }
  return resolved;
}

}  // namespace varve::tree
