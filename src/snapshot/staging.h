// Where layers are built before they get their name: <root>/staging/layers-<random>/, one directory
// for each store object, guarded by a lock on layers-<random>.lock. The kernel drops the lock of a
// killed process, so whoever opens the root next can tell its leftovers from the work of the
// living.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "sys/flock.h"

namespace varve::snapshot {

class Staging {
 public:
  // Creates `directory` if missing and removes the leftovers in it.
  static Result<std::unique_ptr<Staging>> Open(const std::string& directory);
  ~Staging();

  // A path that nobody else uses; nothing is there yet. Any thread.
  Result<std::string> NewPath();

  // Removes what is at a path of NewPath's, on a thread of its own: where the file system discards what is freed, each
  // directory and file that goes is a wait for the disk. What is left when this object goes, goes with it.
  void RemoveLater(std::string path);

 private:
  struct Mine {
    std::optional<sys::FlockGuard> lock;
    std::string path;
  };

  explicit Staging(std::string directory) : directory_(std::move(directory)) {}
  Status RemoveLeftovers();
  Status Claim(Mine& mine);

  const std::string directory_;
  Guarded<Mine> mine_;
  std::atomic<unsigned> counter_{0};
  std::optional<ThreadPool> removals_{std::in_place, 1};
};

}  // namespace varve::snapshot
