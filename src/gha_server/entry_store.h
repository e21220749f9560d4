// The entries of a cache service on disk.
//
// An entry is bytes under (scope, version, key), written once: reserved, uploaded in any order and in
// parallel, committed. Only committed entries are found. What was used longest ago goes when the sum
// exceeds the limit.
//
//   <dir>/entries/ID.json   {"id", "scope", "key", "version", "size", "created"}; its mtime is the last use
//   <dir>/entries/ID.data   the bytes; there before the .json, gone after it
//   <dir>/uploads/ID/       what is being uploaded; emptied when the service starts
//
// Committed means durable: data and name are synced before Commit returns. Kill -9 at any instant loses
// uploads that were not committed, and nothing else. One process a directory (flock on <dir>/lock).
// Safe from any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/guarded.h"
#include "base/result.h"
#include "sys/flock.h"

namespace varve::gha_server {

using EntryId = int64_t;

struct Entry {
  EntryId id = 0;
  std::string scope, key, version;
  uint64_t size = 0;
  Timestamp created, used;
};

// A key that is looked for: as it is, or as the beginning of a key.
struct KeyPattern {
  std::string text;
  bool prefix = true;  // an equal key first, else the newest that begins so
};

// The bytes of an entry that is not committed.
class Upload {
 public:
  Upload(EntryId upload_id, Entry entry, std::string folder)
      : id_(upload_id), entry_(std::move(entry)), folder_(std::move(folder)) {}
  EntryId id() const { return id_; }
  const Entry& entry() const { return entry_; }

  // A file to write one range, block or the whole into. Nothing counts before Done.
  struct Part {
    Fd fd;
    std::string temporary, final_name;  // empty for a range
    uint64_t offset = 0, size = 0;      // of a range
    std::shared_ptr<int> writing = {};  // keeps the upload open while a range is written
  };
  Result<Part> StartRange(uint64_t offset, uint64_t size);
  Result<Part> StartBlock(std::string_view block_id);
  Result<Part> StartWhole();
  Status Done(Part part);

  // The whole is these blocks, in order. kInvalid names a block that was not uploaded.
  Status JoinBlocks(const std::vector<std::string>& block_ids);

  // Checks that `size` bytes are complete: no hole, and nobody writes. Nothing is taken afterwards.
  Status Close(uint64_t size);
  std::string DataPath() const { return folder_ + "/data"; }
  const std::string& folder() const { return folder_; }

 private:
  struct State {
    std::optional<uint64_t> whole;        // set by StartWhole and JoinBlocks
    std::map<uint64_t, uint64_t> ranges;  // begin → end, not overlapping, not adjacent
    uint64_t parts = 0;
    bool closed = false;
  };
  const EntryId id_;
  const Entry entry_;
  const std::string folder_;
  const std::shared_ptr<int> writers_ = std::make_shared<int>();
  Guarded<State> state_;
};

class EntryStore {
 public:
  struct Options {
    std::string dir;
    uint64_t max_size = 10'000'000'000;
    Nanos reservation_life{3'600'000'000'000};  // then another may reserve what was never committed
  };
  static Result<std::unique_ptr<EntryStore>> Open(Options options, Clock& clock);

  // Scope by scope, pattern by pattern within; counts as a use.
  std::optional<Entry> Find(const std::vector<std::string>& scopes, const std::vector<KeyPattern>& keys,
                            const std::string& version);
  std::vector<Entry> List(const std::vector<std::string>& scopes, const std::string& prefix);

  // Nothing when it is there or reserved by somebody else.
  Result<std::optional<EntryId>> Reserve(const std::string& scope, const std::string& key, const std::string& version);
  std::shared_ptr<Upload> FindUpload(EntryId id);  // null: no such reservation
  std::shared_ptr<Upload> FindUpload(const std::string& scope, const std::string& key, const std::string& version);
  // kInvalid when the upload has another size, or a hole; kResource when it is over the limit.
  Status Commit(Upload& upload, uint64_t size);

  // The bytes of a committed entry; eviction does not disturb who has them open.
  struct Content {
    Entry entry;
    Fd fd;
  };
  Result<Content> Read(EntryId id);

  // As if it had been used longest ago, and the limit reached; false: there is no such entry.
  bool Drop(EntryId id);

  uint64_t max_size() const { return options_.max_size; }
  uint64_t size();
  std::vector<Entry> TakeEvicted();  // since the last call

 private:
  using Name = std::tuple<std::string, std::string, std::string>;  // scope, version, key
  struct State {
    std::map<Name, EntryId> names;
    std::map<EntryId, Entry> entries;
    std::map<EntryId, std::shared_ptr<Upload>> uploads;
    std::map<Name, EntryId> reserved;
    std::vector<Entry> evicted;
    uint64_t size = 0;
    EntryId last_id = 0;
  };

  EntryStore(Options options, Clock& clock, sys::FlockGuard lock)
      : options_(std::move(options)), clock_(clock), lock_(std::move(lock)) {}
  Status Load();
  void Evict(State& state, EntryId spare);
  void Drop(State& state, const Entry& entry);
  std::string EntryPath(EntryId id, const char* suffix) const;

  const Options options_;
  Clock& clock_;
  const sys::FlockGuard lock_;
  Guarded<State> state_;
};

}  // namespace varve::gha_server
