#include "tree/node_codec.h"
#include "tree/tree.h"

namespace varve::tree {

namespace {

// A directory in one of two states: still the object that `digest` names, or opened, with its
// entries in memory. Only a changed one is encoded again.
struct OpenDirectory {
  struct Entry {
    Node node;  // for an opened directory, node.digest is out of date
    std::unique_ptr<OpenDirectory> opened;
  };
  std::map<std::string, Entry, std::less<>> entries;
  bool changed = false;  // here or anywhere below
};

std::unique_ptr<OpenDirectory> OpenCopy(const Directory& directory) {
  auto open = std::make_unique<OpenDirectory>();
  for (const Node& node : directory.entries) {
    open->entries.emplace_hint(open->entries.end(), node.name, OpenDirectory::Entry{node, nullptr});
  }
  return open;
}

Node ImplicitParent(std::string_view name) {
  Node node;
  node.name = name;
  node.type = NodeType::kDirectory;
  node.mode = 0755;
  node.digest = EmptyTree();
  return node;
}

}  // namespace

struct TreeEditor::Impl {
  TreeStore& store;
  Digest root_digest;
  std::unique_ptr<OpenDirectory> root;

  Result<OpenDirectory*> Root() {
    if (!root) {
      TRY_ASSIGN(auto directory, GetDirectory(store, root_digest));
      root = OpenCopy(*directory);
    }
    return root.get();
  }

  Result<OpenDirectory*> Open(OpenDirectory::Entry& entry) {
    if (!entry.opened) {
      TRY_ASSIGN(auto directory, GetDirectory(store, entry.node.digest));
      entry.opened = OpenCopy(*directory);
    }
    return entry.opened.get();
  }

  // The directory that holds the last part of `path`, or null when it is not there.
  Result<OpenDirectory*> FindParent(const std::vector<std::string_view>& parts) {
    TRY_ASSIGN(OpenDirectory * directory, Root());
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      auto it = directory->entries.find(parts[i]);
      if (it == directory->entries.end() || !it->second.node.IsDirectory()) return nullptr;
      TRY_ASSIGN(directory, Open(it->second));
    }
    return directory;
  }

  // The same, with missing parents made, and everything on the way marked as changed.
  Result<OpenDirectory*> MakeParent(const RelPath& path, const std::vector<std::string_view>& parts) {
    TRY_ASSIGN(OpenDirectory * directory, Root());
    directory->changed = true;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      auto it = directory->entries.lower_bound(parts[i]);
      if (it == directory->entries.end() || it->first != parts[i]) {
        it = directory->entries.emplace_hint(it, parts[i], OpenDirectory::Entry{ImplicitParent(parts[i]), nullptr});
      } else if (!it->second.node.IsDirectory()) {
        return Invalid("cannot put {}: its parent \"{}\" is not a directory", path.Absolute(), parts[i]);
      }
      TRY_ASSIGN(directory, Open(it->second));
      directory->changed = true;
    }
    return directory;
  }

  // FindParent found every directory on the way, so they are all open.
  void MarkChanged(const std::vector<std::string_view>& parts) {
    OpenDirectory* directory = root.get();
    directory->changed = true;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      directory = directory->entries.find(parts[i])->second.opened.get();
      directory->changed = true;
    }
  }

  Digest Store(OpenDirectory& directory, std::vector<std::pair<Digest, std::string>>* objects) {
    std::string object;
    object.reserve(16 + directory.entries.size() * 64);
    AppendDirectoryHeader(object, directory.entries.size());
    for (auto& [name, entry] : directory.entries) {
      if (entry.opened && entry.opened->changed) {
        entry.node.digest = Store(*entry.opened, objects);
      }
      PutBytes(object, name);
      AppendNode(object, entry.node, ChildDigest::kWrite);
    }
    directory.changed = false;
    Digest digest = Digest::Of(object);
    objects->emplace_back(digest, std::move(object));
    return digest;
  }
};

TreeEditor::TreeEditor(TreeStore& store, const Digest& root)
    : impl_(std::make_unique<Impl>(Impl{store, root, nullptr})) {}
TreeEditor::~TreeEditor() = default;

Result<std::optional<Node>> TreeEditor::Lookup(const RelPath& path) {
  if (path.IsRoot()) {
    Node node = ImplicitParent("");
    node.digest = impl_->root_digest;
    return std::optional<Node>(std::move(node));
  }
  auto parts = path.Parts();
  TRY_ASSIGN(OpenDirectory * parent, impl_->FindParent(parts));
  if (parent == nullptr) return std::optional<Node>();
  auto it = parent->entries.find(parts.back());
  if (it == parent->entries.end()) return std::optional<Node>();
  return std::optional<Node>(it->second.node);
}

Status TreeEditor::Put(const RelPath& path, Node node) {
  if (path.IsRoot()) {
    if (node.IsDirectory()) return Ok();
    return Invalid("cannot replace the root directory by something else");
  }
  auto parts = path.Parts();
  if (parts.size() > kMaxDepth) {
    return Invalid("path of {} parts is too deep: at most {} are possible", parts.size(), kMaxDepth);
  }
  if (path.str().find('\0') != std::string::npos) {
    return Invalid("path \"{}\" holds a zero byte", path.Absolute());
  }
  TRY_ASSIGN(OpenDirectory * parent, impl_->MakeParent(path, parts));
  node.name = parts.back();
  auto it = parent->entries.lower_bound(parts.back());
  if (it == parent->entries.end() || it->first != parts.back()) {
    it = parent->entries.emplace_hint(it, node.name, OpenDirectory::Entry{});
  }
  OpenDirectory::Entry& entry = it->second;
  if (node.IsDirectory() && entry.node.IsDirectory()) {
    node.digest = entry.node.digest;
  } else {
    entry.opened = nullptr;
    if (node.IsDirectory() && node.digest.empty()) node.digest = EmptyTree();
  }
  entry.node = std::move(node);
  return Ok();
}

Status TreeEditor::Remove(const RelPath& path) {
  if (path.IsRoot()) return Invalid("cannot remove the root directory");
  auto parts = path.Parts();
  TRY_ASSIGN(OpenDirectory * parent, impl_->FindParent(parts));
  if (parent == nullptr) return Ok();
  auto it = parent->entries.find(parts.back());
  if (it == parent->entries.end()) return Ok();
  parent->entries.erase(it);
  impl_->MarkChanged(parts);
  return Ok();
}

Status TreeEditor::ClearChildren(const RelPath& path) {
  TRY_ASSIGN(OpenDirectory * directory, impl_->Root());
  if (path.IsRoot()) {
    directory->entries.clear();
    directory->changed = true;
    return Ok();
  }
  auto parts = path.Parts();
  TRY_ASSIGN(OpenDirectory * parent, impl_->FindParent(parts));
  if (parent == nullptr) return Ok();
  auto it = parent->entries.find(parts.back());
  if (it == parent->entries.end() || !it->second.node.IsDirectory()) return Ok();
  it->second.node.digest = EmptyTree();
  it->second.opened = nullptr;
  impl_->MarkChanged(parts);
  return Ok();
}

Result<Digest> TreeEditor::Commit() {
  if (!impl_->root || !impl_->root->changed) return impl_->root_digest;
  std::vector<std::pair<Digest, std::string>> objects;
  Digest root = impl_->Store(*impl_->root, &objects);
  TRY(impl_->store.Put(objects));
  impl_->root_digest = root;
  return root;
}

}  // namespace varve::tree
