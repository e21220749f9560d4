// A blob store that misbehaves on request, to test what users of stores do about it.
//
//   auto memory = MakeMemoryStore();
//   FaultyStore store(*memory);
//   store.FailCall(StoreCall::kCommit, 3, Resource("disk is full"));   // the third commit from now
//
// Passes everything on to `inner` until told otherwise. Safe from any thread.
#pragma once

#include <array>
#include <set>

#include "base/guarded.h"
#include "cas/blob_store.h"

namespace varve::cas {

enum class StoreCall { kStat, kOpen, kCreate, kWrite, kCommit, kRead, kRemove, kForEach };
inline constexpr size_t kStoreCalls = 8;

class FaultyStore final : public BlobStore {
 public:
  explicit FaultyStore(BlobStore& inner) : inner_(inner) {}

  Result<std::optional<BlobStat>> Stat(const Digest& digest) override;
  Result<std::unique_ptr<Reader>> Open(const Digest& digest) override;
  Result<std::unique_ptr<BlobWriter>> Create() override;
  Status Remove(const Digest& digest) override;
  Status ForEachStat(const std::function<Status(const BlobStat&)>& visit) override;

  // The nth call of that kind from now (1: the next one) fails with `error`, once. A failing write
  // has passed on half of its data first, as write(2) on a full disk does; a failing commit leaves
  // nothing visible.
  void FailCall(StoreCall call, uint64_t nth, Error error);
  // How many calls of that kind there were: lets a test fail each of them in turn.
  uint64_t Calls(StoreCall call);

  // Everything committed so far is safe from LoseUnsynced.
  void Sync();
  // What a power failure does to a store that does not sync: blobs committed since the last Sync
  // are there by name, with the second half of their bytes missing, until they are committed again.
  void LoseUnsynced();

 private:
  class FaultyWriter;
  class FaultyReader;
  struct Plan {
    uint64_t calls = 0;
    uint64_t fail_at = 0;  // 0: never
    Error error;
  };
  struct State {
    std::array<Plan, kStoreCalls> plans;
    std::set<Digest> unsynced;
    std::set<Digest> cut;
  };
  Status Enter(StoreCall call);
  void Cut(BlobStat& stat);

  BlobStore& inner_;
  Guarded<State> state_;
};

}  // namespace varve::cas
