// A local directory as a Tree: the build context, and named local contexts.
//
//   ContextSpec spec{.directory = ".", .exclude = patterns, .stat_cache_file = root + "/stat/" +
//   id}; TRY_ASSIGN(ContextTree tree, WalkContext(spec, store, stop));
//
// What goes into the tree: names, types, permission bits, link targets, device numbers and content
// digests. Owners are 0:0, since who checked a project out says nothing about the project
// (reference cache.md, "Content hash": clients zero them). Extended attributes are not read: that
// costs a system call per file, and the ones that a context has (quarantine marks, SELinux labels)
// are of the host. Sockets are left out. Symlinks are data.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/rel_path.h"
#include "base/result.h"
#include "source/context_mode.h"
#include "tree/selection.h"
#include "tree/tree.h"

namespace varve::source {

struct ContextSpec {
  std::string directory;
  // Ignore patterns (tree::ReadIgnoreFile). A directory that they exclude is not listed unless a
  // "!" pattern may bring something below it back; then it is in the tree if anything below it is.
  std::vector<std::string> exclude;
  // When not empty: only what these patterns match, and the directories above that.
  std::vector<std::string> include;
  // When not empty: only what these selectors can reach, links on their way included. The tree then
  // has the selected content, perhaps more, and the directories above it.
  std::vector<tree::Selector> reach;
  // What was hashed the last time (tree/stat_cache.h); empty: none. Its directory must exist. It
  // may be shared by builds with different patterns: what one does not walk it keeps for the other.
  std::string stat_cache_file;
  // Which permission bits count.
  ContextMode mode = ContextMode::kExact;
};

struct ContextTree {
  Digest root;
  uint64_t files = 0;         // regular files in the tree
  uint64_t bytes = 0;         //   and their size
  uint64_t hashed_files = 0;  // of these, read because the stat cache did not know them
  uint64_t hashed_bytes = 0;
};

// Walks, hashes what changed on up to CpuCount() threads, and gives the store all objects in one
// Put, or none when it has the root already. kNotFound when the directory does not exist, kInvalid
// when it is none, holds something unreadable, or files that keep changing while they are read.
//
// `clock` is that of the stat cache's race rule, to be replaced in tests.
Result<ContextTree> WalkContext(const ContextSpec& spec, tree::TreeStore& store, std::stop_token stop,
                                Clock& clock = SystemClock());

// Whether the spec's patterns keep `path` out of the tree: to say "excluded by .dockerignore" about
// a path that was not found. kInvalid for malformed patterns.
Result<bool> IsIgnored(const ContextSpec& spec, const RelPath& path);

// Opens files of a context by the paths of its tree, for the step that copies them. The tree was
// made earlier: whoever needs the bytes to be those of the tree compares digests while copying.
class ContextRoot {
 public:
  static Result<ContextRoot> Open(const std::string& directory);

  // Read-only. No symlink is followed, the last part included: tree paths have none.
  Result<Fd> OpenFile(const RelPath& path) const;
  int fd() const { return fd_.get(); }

 private:
  explicit ContextRoot(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace varve::source
