// Directory objects in trees.db, with the decoded ones that were used last in memory.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/guarded.h"
#include "cache/index.h"
#include "tree/tree.h"

namespace varve::cache {

// Safe from any thread. The file is opened with the first use: a build whose keys are all known by
// lineage never needs it.
class TreeRows {
 public:
  TreeRows(std::string root, Clock& clock) : root_(std::move(root)), clock_(clock) {}

  // Checked against the digest; a damaged object is removed and absent.
  Result<std::shared_ptr<const tree::Directory>> Get(const Digest& digest);
  // Writes what is missing, in one transaction; renews what was put more than kTreeRenewal ago;
  // writes nothing if nothing of that is needed.
  Status Put(const std::vector<std::pair<Digest, std::string>>& objects);
  // Keeps them here as long as the file is not open: a build whose steps are all hits needs no more of it than the
  // tree of its context, and opening the file is a tenth of such a build.
  Status PutLater(std::vector<std::pair<Digest, std::string>> objects);
  // Puts those, as Put does. Whoever writes something that names trees calls this first.
  Status PutDue();

  Result<std::vector<std::pair<Digest, uint64_t>>> PutBefore(Timestamp time);
  Status Remove(std::span<const Digest> digests, Timestamp time);
  Status Compact();
  Status Check(bool repair, std::vector<std::string>& problems);
  Result<std::vector<Digest>> Damaged();
  std::string Notice();
  Status ShortenLog();

  // Encoded bytes of decoded directories, about a third of what they take when decoded. A tree of more is walked
  // once, as a copy does, whatever is kept of it; what is asked for again and again is at the top.
  static constexpr size_t kMemoryLimit = 2 << 20;

 private:
  using Decoded = std::shared_ptr<const tree::Directory>;
  struct Entry {
    Digest digest;
    Decoded directory;
    size_t bytes;
  };
  struct Recent {
    std::list<Entry> order;  // used last first
    std::unordered_map<Digest, std::list<Entry>::iterator> entries;
    size_t bytes = 0;
  };
  Result<Index*> Open();
  Result<Decoded> Remembering(const Digest& digest, std::string_view object);
  Decoded FindRecent(const Digest& digest);
  void Remember(const Digest& digest, const Decoded& directory, size_t bytes);

  const std::string root_;
  Clock& clock_;
  Guarded<std::unique_ptr<Index>> index_;
  Guarded<std::unordered_map<Digest, std::string>> due_;
  Guarded<Recent> recent_;
};

}  // namespace varve::cache
