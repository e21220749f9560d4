#include "cas/blob_store.h"

#include "base/log.h"
#include "base/metric.h"

namespace varve::cas {

namespace {

class VerifyingReader final : public Reader {
 public:
  VerifyingReader(BlobStore& store, std::unique_ptr<Reader> in, const Digest& digest)
      : store_(store), in_(std::move(in)), digest_(digest) {}

  Result<size_t> Read(std::span<char> buffer) override {
    if (buffer.empty()) return 0;
    if (failed_) return Damaged();
    if (ended_) return 0;
    TRY_ASSIGN(size_t n, in_->Read(buffer));
    if (n > 0) {
      hash_.Update(std::string_view(buffer.data(), n));
      return n;
    }
    ended_ = true;
    failed_ = hash_.Finish() != digest_;
    if (!failed_) return 0;
    Counter("cas.damaged").Add();
    if (Status removed = store_.Remove(digest_); !removed) LOG_WARN("{}", removed.error().message);
    return Damaged();
  }

 private:
  Error Damaged() const { return Corrupt("blob {} is damaged: its bytes have another digest", digest_.ToString()); }

  BlobStore& store_;
  std::unique_ptr<Reader> in_;
  Digest digest_;
  Sha256 hash_;
  bool ended_ = false;
  bool failed_ = false;
};

}  // namespace

Result<std::optional<uint64_t>> BlobStore::Size(const Digest& blob) {
  TRY_ASSIGN(std::optional<BlobStat> stat, Stat(blob));
  return stat ? std::optional(stat->size) : std::nullopt;
}

Result<bool> BlobStore::Has(const Digest& blob) {
  TRY_ASSIGN(std::optional<BlobStat> stat, Stat(blob));
  return stat.has_value();
}

Status BlobStore::ForEach(const std::function<Status(const Digest&, uint64_t)>& visit) {
  return ForEachStat([&](const BlobStat& stat) { return visit(stat.digest, stat.size); });
}

Result<Digest> BlobStore::Put(std::string_view content) {
  // Written even if it is there: that renews its time for collections, and heals a damaged one.
  TRY_ASSIGN(std::unique_ptr<BlobWriter> writer, Create());
  TRY(writer->Write(content));
  return writer->Commit();
}

Result<std::string> BlobStore::Get(const Digest& blob, uint64_t limit) {
  TRY_ASSIGN(std::unique_ptr<Reader> reader, OpenVerified(blob));
  auto content = ReadAll(*reader, limit);
  if (!content && content.error().code == Code::kInvalid) {
    return Error(std::move(content).error()).With("blob " + blob.ToString());
  }
  return content;
}

Result<std::unique_ptr<Reader>> BlobStore::OpenVerified(const Digest& blob) {
  TRY_ASSIGN(std::unique_ptr<Reader> reader, Open(blob));
  return std::make_unique<VerifyingReader>(*this, std::move(reader), blob);
}

}  // namespace varve::cas
