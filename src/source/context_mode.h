// Which permission bits of a context's files count, in keys and in images.
//
// git keeps one bit of a file's mode, the executable one; the others are made by the umask of whoever
// cloned. Two clones of one commit under two umasks are the same project, and must hit the same cache
// and give the same image. A mode that somebody chose with chmod is not the umask's, and counts.
#pragma once

#include <cstdint>
#include <string>

#include "tree/tree.h"

namespace varve::source {

enum class ContextMode {
  kAuto,   // in a git work tree, what its umask did is undone; all else as it is
  kExact,  // every mode as it is on disk
  kGit,    // files 0644 or 0755 by the owner's executable bit, directories 0755
};

class ModeRule {
 public:
  ModeRule() = default;  // exact
  // kAuto reads the umask off the .git of the work tree that `directory` is in, and is exact where
  // there is none.
  static ModeRule For(ContextMode mode, const std::string& directory);

  // `mode` as it counts; only files and directories are changed.
  uint32_t Apply(uint32_t mode, tree::NodeType type) const;

 private:
  ContextMode mode_ = ContextMode::kExact;
  uint32_t umask_ = 022;         // kAuto: of the clone
  bool inherits_group_ = false;  // kAuto: directories there are made setgid by the file system
};

}  // namespace varve::source
