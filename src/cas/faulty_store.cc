#include "cas/faulty_store.h"

#include <algorithm>
#include <utility>

namespace varve::cas {

class FaultyStore::FaultyWriter final : public BlobWriter {
 public:
  FaultyWriter(FaultyStore& store, std::unique_ptr<BlobWriter> writer) : store_(store), writer_(std::move(writer)) {}

  Status Write(std::string_view data) override {
    if (Status status = store_.Enter(StoreCall::kWrite); !status) {
      TRY(writer_->Write(data.substr(0, data.size() / 2)));
      return status;
    }
    return writer_->Write(data);
  }

  Result<Digest> Commit(std::optional<Digest> expected) override {
    TRY(store_.Enter(StoreCall::kCommit));
    TRY_ASSIGN(Digest digest, writer_->Commit(expected));
    auto state = store_.state_.Lock();
    state->unsynced.insert(digest);
    state->cut.erase(digest);
    return digest;
  }

  uint64_t size() const override { return writer_->size(); }

 private:
  FaultyStore& store_;
  std::unique_ptr<BlobWriter> writer_;
};

class FaultyStore::FaultyReader final : public Reader {
 public:
  FaultyReader(FaultyStore& store, std::unique_ptr<Reader> reader, uint64_t size)
      : store_(store), reader_(std::move(reader)), left_(size) {}

  Result<size_t> Read(std::span<char> buffer) override {
    TRY(store_.Enter(StoreCall::kRead));
    buffer = buffer.first(static_cast<size_t>(std::min<uint64_t>(buffer.size(), left_)));
    if (buffer.empty()) return 0;
    TRY_ASSIGN(size_t n, reader_->Read(buffer));
    left_ -= n;
    return n;
  }

 private:
  FaultyStore& store_;
  std::unique_ptr<Reader> reader_;
  uint64_t left_;
};

Status FaultyStore::Enter(StoreCall call) {
  auto state = state_.Lock();
  Plan& plan = state->plans[static_cast<size_t>(call)];
  ++plan.calls;
  if (plan.calls != plan.fail_at) return Ok();
  plan.fail_at = 0;
  return plan.error;
}

void FaultyStore::Cut(BlobStat& stat) {
  if (state_.Lock()->cut.contains(stat.digest)) stat.size /= 2;
}

void FaultyStore::FailCall(StoreCall call, uint64_t nth, Error error) {
  auto state = state_.Lock();
  Plan& plan = state->plans[static_cast<size_t>(call)];
  plan.fail_at = plan.calls + nth;
  plan.error = std::move(error);
}

uint64_t FaultyStore::Calls(StoreCall call) { return state_.Lock()->plans[static_cast<size_t>(call)].calls; }

void FaultyStore::Sync() { state_.Lock()->unsynced.clear(); }

void FaultyStore::LoseUnsynced() {
  auto state = state_.Lock();
  state->cut.merge(std::exchange(state->unsynced, {}));
}

Result<std::optional<BlobStat>> FaultyStore::Stat(const Digest& digest) {
  TRY(Enter(StoreCall::kStat));
  TRY_ASSIGN(std::optional<BlobStat> stat, inner_.Stat(digest));
  if (stat) Cut(*stat);
  return stat;
}

Result<std::unique_ptr<Reader>> FaultyStore::Open(const Digest& digest) {
  TRY(Enter(StoreCall::kOpen));
  TRY_ASSIGN(std::unique_ptr<Reader> reader, inner_.Open(digest));
  TRY_ASSIGN(std::optional<BlobStat> stat, inner_.Stat(digest));
  if (stat) Cut(*stat);
  return std::make_unique<FaultyReader>(*this, std::move(reader), stat ? stat->size : UINT64_MAX);
}

Result<std::unique_ptr<BlobWriter>> FaultyStore::Create() {
  TRY(Enter(StoreCall::kCreate));
  TRY_ASSIGN(std::unique_ptr<BlobWriter> writer, inner_.Create());
  return std::make_unique<FaultyWriter>(*this, std::move(writer));
}

Status FaultyStore::Remove(const Digest& digest) {
  TRY(Enter(StoreCall::kRemove));
  return inner_.Remove(digest);
}

Status FaultyStore::ForEachStat(const std::function<Status(const BlobStat&)>& visit) {
  TRY(Enter(StoreCall::kForEach));
  return inner_.ForEachStat([&](BlobStat stat) {
    Cut(stat);
    return visit(stat);
  });
}

std::unique_ptr<BlobStore> MakeFaultyStore(BlobStore& inner, Faults faults) {
  auto store = std::make_unique<FaultyStore>(inner);
  auto plan = [&](StoreCall call, int nth, const char* what) {
    if (nth > 0) {
      store->FailCall(call, static_cast<uint64_t>(nth), Resource("{} blob: no space left on device", what));
    }
  };
  plan(StoreCall::kCreate, faults.create, "create");
  plan(StoreCall::kWrite, faults.write, "write");
  plan(StoreCall::kCommit, faults.commit, "commit");
  plan(StoreCall::kOpen, faults.open, "open");
  return store;
}

}  // namespace varve::cas
