// Leases: promises not to collect (invariant I5).
//
// A job's leases are lines of <root>/jobs/<job>, a file that the job keeps locked (flock) as long
// as it lives: a dead owner's leases are void at once, kill -9 included, and need no cleaning. They
// are not rows of the index, because they must outlive a damaged index that is moved aside under a
// running build; an Add is one write(2), 5 µs, against 60 to 100 µs for a transaction.
//
//   file   := "varve job 1 " start-nanos "\n" line*
//   line   := kind " " hex "\n"        kind: record | tree | layer | blob; without newline: ignored
//
// The rule for users: lease first, then look whether the thing is there. Add and a collection
// exclude each other (<root>/jobs/collect.lock), so what is there after Add stays. Things that did
// not exist when the job began are safe without a lease until they are used: a collection spares
// what is younger than the oldest live job.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/guarded.h"
#include "cache/lock_file.h"

namespace varve::cache {

enum class LeaseKind { kRecord, kTree, kLayer, kBlob };

// One running job's leases, dropped by the destructor. Safe from any thread.
class JobLease {
 public:
  static Result<std::unique_ptr<JobLease>> Begin(const std::string& root, Clock& clock);
  ~JobLease();

  const std::string& id() const { return id_; }  // unique on this root: time and process

  // All or, on an error, none that counts. What is leased already costs nothing. kResource when the
  // disk is full.
  Status Add(LeaseKind kind, std::span<const Digest> digests);
  Status Add(LeaseKind kind, const Digest& digest) { return Add(kind, std::span(&digest, 1)); }
  Status Add(const StepKey& record) { return Add(LeaseKind::kRecord, record.value); }
  Status Add(const DiffId& layer) { return Add(LeaseKind::kLayer, layer.value); }
  Status Add(const std::vector<DiffId>& layers);

  std::vector<Digest> Held(LeaseKind kind);

 private:
  JobLease(std::string root, std::string id, LockFile file)
      : root_(std::move(root)), id_(std::move(id)), file_(std::move(file)) {}

  const std::string root_;
  const std::string id_;
  LockFile file_;
  Guarded<std::set<std::pair<LeaseKind, Digest>>> held_;
};

// Whether the process that began `job` (JobLease::id) still holds it. False for names that are none.
bool JobLives(const std::string& root, const std::string& job);

// All leases of jobs that live.
struct LiveLeases {
  std::set<std::pair<LeaseKind, Digest>> held;
  std::optional<Timestamp> oldest_start;
  size_t jobs = 0;
  std::vector<std::string> dead;  // files of jobs that were killed, and may have left more (upkeep/leftovers.h)

  bool Holds(LeaseKind kind, const Digest& digest) const { return held.contains({kind, digest}); }
};

// Held while something is being removed: no lease is added meanwhile. Keep it for milliseconds.
class CollectionLock {
 public:
  static Result<CollectionLock> Take(const std::string& root, std::stop_token stop);
  // The leases as of now, but for those of the job `except`. Files of dead jobs stay: they tell whoever
  // clears up that there is something to look for.
  Result<LiveLeases> Read(std::string_view except = {});

 private:
  CollectionLock(std::string root, LockFile lock) : root_(std::move(root)), lock_(std::move(lock)) {}
  std::string root_;
  LockFile lock_;
};

}  // namespace varve::cache
