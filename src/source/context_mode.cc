#include "source/context_mode.h"

#include <sys/stat.h>

#include <climits>
#include <cstdlib>

namespace varve::source {

namespace {

// The stat of the .git above `directory`, which is a directory, or in a linked work tree a file.
bool FindGit(const std::string& directory, struct stat* st) {
  char resolved[PATH_MAX];
  if (realpath(directory.c_str(), resolved) == nullptr) return false;
  std::string at = resolved;
  while (true) {
    if (lstat((at + "/.git").c_str(), st) == 0 && (S_ISDIR(st->st_mode) || S_ISREG(st->st_mode))) return true;
    if (at.empty() || at == "/") return false;
    at.resize(at.rfind('/'));
  }
}

}  // namespace

ModeRule ModeRule::For(ContextMode mode, const std::string& directory) {
  ModeRule rule;
  rule.mode_ = mode;
  struct stat st {};
  if (mode != ContextMode::kAuto) return rule;
  if (!FindGit(directory, &st)) {
    rule.mode_ = ContextMode::kExact;
    return rule;
  }
  if (S_ISDIR(st.st_mode)) {
    rule.umask_ = ~st.st_mode & 0777;
    rule.inherits_group_ = (st.st_mode & S_ISGID) != 0;
  } else {
    // A file has no executable bits to show: umasks that take reading and writing take them too.
    uint32_t taken = ~st.st_mode & 0666;
    rule.umask_ = taken;
    for (uint32_t who : {0u, 3u, 6u}) {
      if (((taken >> who) & 06) == 06) rule.umask_ |= 01u << who;
    }
  }
  return rule;
}

uint32_t ModeRule::Apply(uint32_t mode, tree::NodeType type) const {
  bool file = type == tree::NodeType::kFile, directory = type == tree::NodeType::kDirectory;
  if (mode_ == ContextMode::kExact || (!file && !directory)) return mode;
  if (mode_ == ContextMode::kGit) return directory || (mode & 0100) != 0 ? 0755 : 0644;
  if (directory) {
    uint32_t plain = inherits_group_ ? mode & ~static_cast<uint32_t>(S_ISGID) : mode;
    return plain == (0777 & ~umask_) ? 0755 : mode;
  }
  if (mode == (0666 & ~umask_)) return 0644;
  if (mode == (0777 & ~umask_)) return 0755;
  return mode;
}

}  // namespace varve::source
