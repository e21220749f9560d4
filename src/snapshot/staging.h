// Where layers are built before they get their name: <root>/staging/layers-<random>/, one directory
// for each store object, guarded by a lock on layers-<random>.lock. The kernel drops the lock of a
// killed process, so whoever opens the root next can tell its leftovers from the work of the
// living.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/guarded.h"
#include "base/result.h"
#include "sys/flock.h"

namespace varve::snapshot {

class Staging {
 public:
  // Creates `directory` if missing and removes the leftovers in it.
  static Result<std::unique_ptr<Staging>> Open(const std::string& directory);
  ~Staging();

  // A path that nobody else uses; nothing is there yet. Any thread.
  Result<std::string> NewPath();

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
};

}  // namespace varve::snapshot
