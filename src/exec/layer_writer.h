// Writes one layer by file actions, without mounting anything: what COPY, ADD, WORKDIR and the file
// actions of a graph become.
//
// The upper directory of a draft is filled as overlayfs would fill it if the actions were done in the
// merged view: parents that exist below are copied up with their attributes, new ones are made,
// removals leave whiteouts. What exists below is known from the base's tree; the kernel is not asked.
// (A mount would give the same semantics for free, but every file would be created through overlayfs,
// twice as slow, and hard links to an earlier layer of the same step would be impossible.)
//
// Paths given here have their symlinks resolved already (Resolve). One thread.
#pragma once

#include <time.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "cache/step_record.h"
#include "snapshot/layer_store.h"
#include "tree/tree.h"

namespace varve::exec {

struct Attributes {
  uint32_t mode = 0755;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<Timestamp> mtime;  // nothing: left to the clock
  tree::Xattrs xattrs;
};

class NeededLayers;

// The content of a regular file of a file system whose tree is known; nothing when there is none. For
// /etc/passwd. kCorrupt where the layer that has it is not here; `below` brings it first.
Result<std::optional<std::string>> ReadFileOf(snapshot::LayerStore& layers, tree::TreeStore& trees,
                                              const cache::Rootfs& rootfs, const RelPath& path, uint64_t limit,
                                              NeededLayers* below = nullptr);

class LayerWriter {
 public:
  // `below`: brings the base's layers as they are needed; null: all of them are here.
  LayerWriter(snapshot::LayerStore& layers, tree::TreeStore& trees, const cache::Rootfs& base,
              snapshot::LayerDraft& draft, NeededLayers* below = nullptr);

  // The merged view: what was written, else what is below. Names, types and attributes only.
  Result<std::optional<tree::Node>> Lookup(const RelPath& path);

  // Follows symlinks of the merged view, as in a chroot. Parts that do not exist stay as written.
  Result<RelPath> Resolve(const RelPath& path, bool follow_last);

  // Makes sure that `path` is a directory in the upper directory: copies it up, or makes it and its
  // missing parents with `missing`. kInvalid when something else is in the way. The descriptor is fit
  // for *at calls; `state` tells what was done for the last directory.
  enum class DirectoryState { kMade, kCopiedUp, kWasWritten };
  Result<Fd> Directory(const RelPath& path, const Attributes& missing, DirectoryState* state = nullptr);

  // The base's object for a directory; null when the base has none there.
  Result<std::shared_ptr<const tree::Directory>> BaseDirectory(const RelPath& path);

  // Sets the attributes of a directory that is in the upper directory. The mtime is set by Finish(),
  // after everything in it has been written.
  Status SetDirectory(const RelPath& path, const Attributes& attributes);
  void SetTime(const RelPath& directory, Timestamp time) { directory_times_[directory] = time; }
  // What Finish() will set; nothing: the time stays as it comes.
  std::optional<Timestamp> TimeOf(const RelPath& directory) const;

  // Makes way for something that is no directory: removes what was written at `path`. kInvalid when a
  // directory is in the way, written or below.
  Status ClearForFile(const RelPath& path);

  // Create in a parent that Directory() has made, where ClearForFile() was called or nothing can be.
  // `source` is copied from its start.
  Status PutFile(const RelPath& path, const Attributes& attributes, int source);
  Status PutText(const RelPath& path, const Attributes& attributes, std::string_view text);
  Status PutContent(const RelPath& path, const Attributes& attributes, Reader& content);
  Status PutSymlink(const RelPath& path, const Attributes& attributes, const std::string& target);
  Status PutDevice(const RelPath& path, const Attributes& attributes, tree::NodeType type, uint64_t rdev);
  Status PutHardLink(const RelPath& path, const RelPath& existing);

  // Removes from the merged view; false when there was nothing.
  Result<bool> Remove(const RelPath& path);

  // Sets the times of directories. Call once, last.
  Status Finish();

  // Those of the base that were copied up, and have a time there.
  const std::map<RelPath, Timestamp>& base_times() const { return base_times_; }

  const std::string& upper() const { return upper_; }
  int upper_fd() const { return upper_fd_.get(); }

  // ReadFileOf of the base.
  Result<std::optional<std::string>> ReadBaseFile(const RelPath& path, uint64_t limit) {
    return ReadFileOf(layers_, trees_, base_, path, limit, below_);
  }

 private:
  // What the upper directory has at `path`. `hidden`: the base does not show through there.
  Result<std::optional<tree::Node>> LookupUpper(const RelPath& path, bool* hidden);
  Status CopyUpDirectory(const RelPath& path, const tree::Node& node);
  Result<std::optional<Timestamp>> BaseTime(const RelPath& path) const;

  snapshot::LayerStore& layers_;
  tree::TreeStore& trees_;
  const cache::Rootfs base_;
  const Digest base_root_;
  const std::string upper_;
  Fd upper_fd_;
  NeededLayers* const below_;
  std::map<RelPath, Timestamp> directory_times_;
  std::map<RelPath, Timestamp> base_times_;
};

// Applies mode, owner, xattrs and (if given) mtime to an open file. kAsMade: the file has its owner
// from being made by this process. An error names the call alone; About adds the path.
enum class Owned { kUnknown, kAsMade };
Status ApplyAttributes(int fd, const Attributes& attributes, Owned owned = Owned::kUnknown);
// The same outcome, where it is an error with the file of the image that it is about.
Status About(const RelPath& path, Status status);

timespec ToTimespec(Timestamp time);

}  // namespace varve::exec
