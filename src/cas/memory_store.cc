#include <map>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "cas/blob_store.h"
#include "cas/content_check.h"

namespace varve::cas {

namespace {

struct Blob {
  std::shared_ptr<const std::string> bytes;
  Timestamp made;
};

struct Shared {
  explicit Shared(Clock& c) : clock(c) {}
  Clock& clock;
  Guarded<std::map<Digest, Blob>> blobs;
};

class MemoryReader final : public Reader {
 public:
  explicit MemoryReader(std::shared_ptr<const std::string> bytes) : bytes_(std::move(bytes)), reader_(*bytes_) {}
  Result<size_t> Read(std::span<char> buffer) override { return reader_.Read(buffer); }

 private:
  std::shared_ptr<const std::string> bytes_;
  StringReader reader_;
};

class MemoryWriter final : public BlobWriter {
 public:
  explicit MemoryWriter(Shared& shared) : shared_(shared) {}

  Status Write(std::string_view data) override {
    bytes_.append(data);
    return Ok();
  }

  Result<Digest> Commit(std::optional<Digest> expected) override {
    Digest digest = Digest::Of(bytes_);
    TRY(CheckContent(expected, digest));
    Blob blob{std::make_shared<const std::string>(bytes_), shared_.clock.Now()};
    (*shared_.blobs.Lock())[digest] = std::move(blob);
    return digest;
  }

  uint64_t size() const override { return bytes_.size(); }

 private:
  Shared& shared_;
  std::string bytes_;
};

BlobStat StatOf(const Digest& digest, const Blob& blob) {
  return {digest, blob.bytes->size(), blob.bytes->size(), blob.made};
}

class MemoryStore final : public BlobStore {
 public:
  explicit MemoryStore(Clock& clock) : shared_(clock) {}

  Result<std::optional<BlobStat>> Stat(const Digest& digest) override {
    auto blobs = shared_.blobs.Lock();
    auto it = blobs->find(digest);
    return it == blobs->end() ? std::nullopt : std::optional(StatOf(digest, it->second));
  }

  Result<std::unique_ptr<Reader>> Open(const Digest& digest) override {
    auto blobs = shared_.blobs.Lock();
    auto it = blobs->find(digest);
    if (it == blobs->end()) return NotFound("blob {} is not in the store", digest.ToString());
    return std::make_unique<MemoryReader>(it->second.bytes);
  }

  Result<std::unique_ptr<BlobWriter>> Create() override { return std::make_unique<MemoryWriter>(shared_); }

  Status Remove(const Digest& digest) override {
    shared_.blobs.Lock()->erase(digest);
    return Ok();
  }

  Status ForEachStat(const std::function<Status(const BlobStat&)>& visit) override {
    std::vector<BlobStat> all;
    for (const auto& [digest, blob] : *shared_.blobs.Lock()) all.push_back(StatOf(digest, blob));
    for (const BlobStat& stat : all) TRY(visit(stat));
    return Ok();
  }

 private:
  Shared shared_;
};

}  // namespace

std::unique_ptr<BlobStore> MakeMemoryStore(Clock& clock) { return std::make_unique<MemoryStore>(clock); }

}  // namespace varve::cas
