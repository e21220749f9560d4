// The attributes of directories that a layer needs and does not say: those of the stack below.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "snapshot/layer_store.h"
#include "tree/tree.h"

namespace varve::snapshot {

struct DirectoryAttributes {
  mode_t mode = 0755;
  uid_t uid = 0;
  gid_t gid = 0;
  Timestamp mtime;
  tree::Xattrs xattrs;  // without overlayfs's own

  bool operator==(const DirectoryAttributes&) const = default;
};

// Looks a directory up in a stack of layers as overlayfs would show it. One thread.
class ParentLookup {
 public:
  // `stack`: lowest first. Layers that are not in the store are kNotFound when they are needed.
  ParentLookup(LayerStore& store, std::vector<DiffId> stack) : store_(store), stack_(std::move(stack)) {}

  // The defaults (0755 0:0, the epoch) when the stack shows no directory there. Symlinks are not
  // followed: a directory in an upper layer replaces them.
  Result<DirectoryAttributes> Find(const std::string& path) { return Find(path, stack_.size()); }
  // In the lowest `count` layers only.
  Result<DirectoryAttributes> Find(const std::string& path, size_t count);

  // The target of the symlink that the whole stack shows at `path`; nothing when it shows none.
  Result<std::optional<std::string>> FindSymlink(const std::string& path);

  // Whatever the whole stack shows at `path` whose parents are directories, or nothing.
  struct Found {
    DiffId layer;
    std::shared_ptr<const Fd> directory;  // of that layer, with the name in it
    std::string name;
    struct stat stat = {};
  };
  Result<std::optional<Found>> FindAny(const std::string& path);

 private:
  struct OpenLayer;
  Result<OpenLayer*> Open(size_t number);

  LayerStore& store_;
  const std::vector<DiffId> stack_;
  std::vector<std::shared_ptr<OpenLayer>> open_;
};

// Of an open directory.
Result<DirectoryAttributes> ReadDirectoryAttributes(int fd);
Status ApplyDirectoryAttributes(int fd, const DirectoryAttributes& attributes);

}  // namespace varve::snapshot
