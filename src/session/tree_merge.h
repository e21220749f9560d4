// Half of receive_tree.h: walks a directory in step with the sender's list, removes what the list does not have, makes
// directories, symlinks and fifos, and says which regular files are missing. Knows nothing of packets or threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/fsutil.pb.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/rel_path.h"
#include "base/result.h"
#include "sys/open.h"
#include "sys/statx.h"

namespace varve::session {

class TreeMerge {
 public:
  // Deeper trees are refused: each open directory is a descriptor.
  static constexpr size_t kMaxDepth = 200;

  TreeMerge(int root, bool always_ask) : root_(root), always_ask_(always_ask) {}

  // The next entry of the list. True: a regular file whose content is needed; nothing lies at its path any more.
  Result<bool> Add(const fsutil::types::Stat& stat);
  // The list is complete: removes what is left.
  Status EndList();
  // All files are written: makes hard links, then gives directories their permissions and times.
  Status Finish();

  uint64_t removed() const { return removed_; }

 private:
  struct Level {
    Fd fd;
    std::string path;                 // empty: the root
    std::vector<sys::DirEntry> held;  // by name
    size_t next = 0;                  // in `held`
    std::string last;                 // name that the sender sent last
    mode_t mode = 0;
    int64_t time = 0;
    bool changed = false;  // mode, time or an entry of it
  };
  struct Directory {
    std::string path;
    mode_t mode;
    int64_t time;
  };
  struct Link {
    std::string path, target;
  };

  Result<std::string_view> Enter(std::string_view path);
  Status Leave();
  Status Remove(Level& level, const std::string& name);
  Status AddDirectory(const fsutil::types::Stat& stat, const std::string& name,
                      const std::optional<sys::FileStat>& held);
  Status AddSymlink(const fsutil::types::Stat& stat, const std::string& name, const std::optional<sys::FileStat>& held);
  Status AddFifo(const fsutil::types::Stat& stat, const std::string& name, const std::optional<sys::FileStat>& held);
  Result<bool> AddFile(const fsutil::types::Stat& stat, const std::string& name,
                       const std::optional<sys::FileStat>& held);
  Status AddLink(const fsutil::types::Stat& stat, const std::string& name, const std::optional<sys::FileStat>& held);
  Status MakeLink(const Link& link);

  const int root_;
  const bool always_ask_;
  std::vector<Level> levels_;
  std::vector<Directory> directories_;  // to be given permissions and times
  std::vector<Link> links_;
  std::unordered_map<ino_t, std::string> linked_;  // held files with several names: the first name that stays
  uint64_t removed_ = 0;
};

}  // namespace varve::session
