// A place that holds records and the data that they name: the local store, a directory, a registry,
// GitHub's cache, S3, a previous image.
//
// All methods block and are safe from any thread. Absent is not failed: an absent record is an empty
// optional, an Error means that the tier could not answer, and the caller goes on without it for the
// rest of the job (invariant I7).
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cache/step_record.h"

namespace varve::cache {

// Why a tier that may hold a record was not used.
struct TierTrouble {
  enum class Kind { kUntrusted, kFailed };
  Kind kind = Kind::kFailed;
  std::string tier;  // "registry.example.com/cache:main"
  std::string why;   // "its records are not signed", "connection refused"
};

class RecordStore {
 public:
  virtual ~RecordStore() = default;
  // One entry per key, in order. One round trip for a remote tier, however many keys.
  virtual Result<std::vector<std::optional<StepRecord>>> GetMany(const std::vector<StepKey>& keys) = 0;
  // Replaces a record of the same key. The layers it names must be there before (invariant I4).
  virtual Status Put(const StepRecord& record) = 0;
  // Forgets a record whose data is gone; absent is fine.
  virtual Status Drop(const StepKey& key) = 0;
  // Earlier records of the same step, newest first, for explanations; by slot, then by op digest.
  virtual Result<std::vector<StepRecord>> Earlier(const std::string& slot, const Digest& op_digest, size_t limit) = 0;
  // The records whose traces have this weak key, newest first, one of each run (RunOf): those that may
  // stand for a step of another key (engine/replay.h). Of tiers, what a look-up has loaded: no round trip
  // more than the look-up's two.
  virtual Result<std::vector<StepRecord>> Traced(const Digest& weak_key, size_t limit) = 0;
  // Two runs of this weak key that should have been one differ: none stands for another any more. `why` is for
  // people.
  virtual Status Disown(const Digest& weak_key, const std::string& why) = 0;
  virtual Result<std::optional<std::string>> WhyDisowned(const Digest& weak_key) = 0;
  // After a miss of `key`: tiers that have it but are not trusted, and tiers that did not answer. For
  // explanations; a store without tiers has none.
  virtual std::vector<TierTrouble> TroubleWith(const StepKey& key) {
    (void)key;
    return {};
  }
  // The name of the tier that gave the key's record; empty: it was here, or none gave it.
  virtual std::string TierOf(const StepKey& key) {
    (void)key;
    return {};
  }
};

}  // namespace varve::cache
