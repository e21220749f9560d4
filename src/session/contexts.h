// Directories of clients, kept on this machine: build contexts, Dockerfiles, named local contexts.
//
//   Contexts contexts(root);
//   TRY_ASSIGN(auto context, contexts.Sync(session, {.name = "context", .exclude = patterns}, stop));
//   … build from context->path(), an ordinary directory …
//
// What a client sent stays, so that the next transfer sends what changed (receive_tree.h). Directories are told apart
// by the name of the mount, a hint of the front end, and the key that the sessions of one project share:
//
//   <root>/synced/<key>/<n>/      the files; n counts from 0
//   <root>/synced/<key>/<n>.lock  held while somebody uses them, by the process of whoever it is
//
// Nobody writes into a directory that is in use: a build that comes meanwhile takes the next n. So builds at the same
// time never mix their files, even if their clients have one shared key. Builds that ask one session for the same thing
// share one transfer, as the targets of a bake do.
//
// Safe from any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "base/result.h"
#include "session/receive_tree.h"
#include "session/session.h"
#include "sys/flock.h"

namespace varve::session {

struct ContextRequest {
  std::string name = "context";  // of the client's local mount
  std::string shared_key_hint = {};
  std::vector<std::string> include = {};  // patterns; empty: everything
  std::vector<std::string> exclude = {};  // patterns of an ignore file
  std::vector<std::string> follow = {};   // paths whose symlinks are followed: with these, nothing else is sent
  bool always_ask = false;                // LLB's local.differ=none
  std::function<void(uint64_t bytes)> on_progress = {};
};

// Files of a client, unchanged as long as this exists.
class SyncedContext {
 public:
  SyncedContext(std::string path, Received received, sys::FlockGuard lock)
      : path_(std::move(path)), received_(received), lock_(std::move(lock)) {}
  const std::string& path() const { return path_; }
  const Received& received() const { return received_; }

 private:
  const std::string path_;
  const Received received_;
  sys::FlockGuard lock_;
};

class Contexts {
 public:
  struct Limits {
    uint64_t max_entries = ReceiveOptions().max_entries;
    uint64_t max_bytes = ReceiveOptions().max_bytes;
  };

  // `root`: the state root.
  explicit Contexts(std::string root, Limits limits) : root_(std::move(root)), limits_(limits) {}
  explicit Contexts(std::string root) : Contexts(std::move(root), Limits()) {}

  // Blocks until the files are here. Errors as ReceiveTree's; kInvalid also when the client shares no such directory.
  Result<std::shared_ptr<const SyncedContext>> Sync(Session& session, const ContextRequest& request,
                                                    std::stop_token stop);

 private:
  // One question of one session: whoever asks it first transfers, the others take what is there.
  struct Flight {
    std::timed_mutex transferring;
    std::weak_ptr<const SyncedContext> result;
  };
  Result<std::shared_ptr<const SyncedContext>> Transfer(Session& session, const ContextRequest& request,
                                                        std::stop_token stop);

  const std::string root_;
  const Limits limits_;
  Guarded<std::map<std::string, std::shared_ptr<Flight>>> flights_;
};

}  // namespace varve::session
