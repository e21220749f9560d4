// The directories of RUN --mount=type=cache.
//
//   <root>/mounts/<digest of the key>[.N]/data    the content
//                                         meta    JSON: key, id, created; its mtime is the last use
//                                         ready   there once somebody has filled data
//                                         lock    flock: shared or exclusive, as the mode asks
//                                         users   flock: shared by all who use it, exclusive for
//                                                 whoever removes it
//
// shared: everybody uses the one directory. locked: one user at a time, others wait. private: a
// directory of its own while in use; a free one is used again (N numbers them). The modes exclude
// each other as their names say: a locked user waits for shared ones. That holds across threads and
// processes; a user that dies lets go.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "cache/lock_file.h"

namespace varve::cache {

// Names the content: BUILDKIT_CACHE_MOUNT_NS, the id, and a digest of what it is initialised from
// (empty: nothing).
std::string MountKey(const std::string& name_space, const std::string& id, const std::string& origin);

enum class MountSharing { kShared, kPrivate, kLocked };

class CacheMounts {
 public:
  CacheMounts(std::string root, Clock& clock) : root_(std::move(root)), clock_(clock) {}

  struct Request {
    std::string key;  // MountKey
    std::string id;   // for people
    MountSharing sharing = MountSharing::kShared;
    std::function<void()> on_wait = {};  // called once when the mount is busy
  };

  // Holds the directory until destroyed.
  class Use {
   public:
    const std::string& path() const { return path_; }
    // Nobody has filled it yet: it is empty, and the holder fills it, then says so. Exclusive until
    // then, and empty and new again for the next one if the holder never says so.
    bool is_new() const { return is_new_; }
    Status MarkInitialised();

   private:
    friend class CacheMounts;
    Use(LockFile users, LockFile lock, std::string directory, bool is_new, bool shared)
        : users_(std::move(users)), lock_(std::move(lock)), directory_(std::move(directory)),
          path_(directory_ + "/data"), is_new_(is_new), shared_(shared) {}
    // Two locks, because an exclusive flock becomes a shared one by way of none: in between a locked
    // user may come first, which does no harm, but nobody may remove the directory.
    LockFile users_;
    LockFile lock_;
    std::string directory_;
    std::string path_;
    bool is_new_;
    bool shared_;  // the lock may be shared once it is filled
  };

  Result<Use> Acquire(const Request& request, std::stop_token stop);

  // One that is listed, whatever its key, to read it: others may use it at the same time. kNotFound
  // when it has been removed.
  struct Entry;
  Result<Use> Open(const Entry& entry, std::stop_token stop);

  // One directory, for du, prune and `varve cache-mount`.
  struct Entry {
    std::string key;
    std::string id;
    std::string directory;  // the content is in <directory>/data
    Timestamp created;
    Timestamp last_used;
    bool busy = false;
  };
  Result<std::vector<Entry>> List();
  // False, and nothing happens, while somebody uses it.
  Result<bool> Remove(const Entry& entry);

 private:
  // Nothing: somebody uses it (`busy`), or it is being looked at or removed.
  Result<std::optional<Use>> TryAcquire(const Request& request, const std::string& directory, bool* busy);
  Status NoteUse(const Request& request, const std::string& directory);
  const std::string root_;
  Clock& clock_;
};

}  // namespace varve::cache
