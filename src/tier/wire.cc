#include "tier/wire.h"

#include <algorithm>
#include <memory>

#include "base/strings.h"
#include "oci/manifest.h"

namespace varve::tier {

namespace {

class TextReader final : public Reader {
 public:
  TextReader(std::shared_ptr<const std::string> text, uint64_t offset)
      : text_(std::move(text)), in_(std::string_view(*text_).substr(std::min<uint64_t>(offset, text_->size()))) {}
  Result<size_t> Read(std::span<char> buffer) override { return in_.Read(buffer); }

 private:
  const std::shared_ptr<const std::string> text_;
  StringReader in_;
};

class LimitedWriter final : public Writer {
 public:
  LimitedWriter(uint64_t limit, std::atomic<uint64_t>& bytes) : limit_(limit), bytes_(bytes) {}
  Status Write(std::string_view data) override {
    bytes_ += data.size();
    if (text.size() + data.size() > limit_) return Corrupt("a blob is longer than its descriptor says");
    text.append(data);
    return Ok();
  }
  std::string text;

 private:
  const uint64_t limit_;
  std::atomic<uint64_t>& bytes_;
};

class CountingWriter final : public Writer {
 public:
  CountingWriter(Writer& out, std::atomic<uint64_t>& bytes) : out_(out), bytes_(bytes) {}
  Status Write(std::string_view data) override {
    bytes_ += data.size();
    return out_.Write(data);
  }

 private:
  Writer& out_;
  std::atomic<uint64_t>& bytes_;
};

// What has been read of a blob by all who read parts of it.
class SentBytes {
 public:
  SentBytes(const OnProgress& tell, std::string id, uint64_t total) : tell_(tell), id_(std::move(id)), total_(total) {}
  void Add(uint64_t bytes) {
    constexpr uint64_t kStep = 1 << 20;
    uint64_t before = bytes_.fetch_add(bytes), now = std::min(before + bytes, total_);
    if (now == total_) Done();
    else if (tell_ && before / kStep != now / kStep) tell_(id_, now, total_, false);
  }
  void Done() {
    if (tell_ && !done_.exchange(true)) tell_(id_, total_, total_, true);
  }

 private:
  const OnProgress& tell_;
  const std::string id_;
  const uint64_t total_;
  std::atomic<uint64_t> bytes_ = 0;
  std::atomic<bool> done_ = false;
};

class SentReader final : public Reader {
 public:
  SentReader(std::unique_ptr<Reader> in, std::shared_ptr<SentBytes> sent)
      : in_(std::move(in)), sent_(std::move(sent)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    TRY_ASSIGN(size_t n, in_->Read(buffer));
    sent_->Add(n);
    return n;
  }

 private:
  const std::unique_ptr<Reader> in_;
  const std::shared_ptr<SentBytes> sent_;
};

}  // namespace

OpenAt OpenText(std::string text) {
  return [kept = std::make_shared<const std::string>(std::move(text))](
             uint64_t offset) -> Result<std::unique_ptr<Reader>> { return std::make_unique<TextReader>(kept, offset); };
}

oci::Descriptor Describe(const std::string& text, std::string_view media_type) {
  return {.media_type = std::string(media_type), .digest = Digest::Of(text), .size = text.size()};
}

Status Wire::Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) {
  ++requests;
  CountingWriter counted(out, bytes_read);
  Status got = storage_.Get(blob, counted, stop);
  if (!got && got.error().code == Code::kCorrupt) Distrust(blob.digest);
  return got;
}

Status Wire::GetPart(const oci::Descriptor& blob, uint64_t offset, uint64_t size, Writer& out, std::stop_token stop) {
  ++requests;
  CountingWriter counted(out, bytes_read);
  return storage_.GetPart(blob, offset, size, counted, stop);
}

Result<std::string> Wire::GetSmall(const oci::Descriptor& blob, uint64_t limit, std::stop_token stop) {
  if (blob.size > limit) return Corrupt("blob {} is too large", blob.digest.ToString());
  ++requests;
  LimitedWriter out(blob.size, bytes_read);
  Status got = storage_.Get(blob, out, stop);
  if (!got && got.error().code == Code::kCorrupt) Distrust(blob.digest);
  TRY(std::move(got));
  if (out.text.size() != blob.size || Digest::Of(out.text) != blob.digest) {
    Distrust(blob.digest);
    return Corrupt("blob {} arrived damaged", blob.digest.ToString());
  }
  return std::move(out.text);
}

Result<bool> Wire::Holds(const oci::Descriptor& blob, std::stop_token stop) {
  if (distrusted_.Lock()->contains(blob.digest)) return false;
  if (sent_.Lock()->contains(blob.digest)) return true;
  ++requests;
  return storage_.Has(blob, stop);
}

Result<bool> Wire::Put(const oci::Descriptor& blob, const OpenAt& open, std::stop_token stop) {
  const bool wrong = distrusted_.Lock()->contains(blob.digest);
  if (!wrong && sent_.Lock()->contains(blob.digest)) return false;
  ++requests;
  TRY_ASSIGN(bool sent, storage_.Put(blob, open, wrong ? IfThere::kReplace : IfThere::kKeep, stop));
  if (wrong) distrusted_.Lock()->erase(blob.digest);
  if (sent) bytes_written += blob.size;
  return sent;
}

Result<bool> Wire::SendAhead(const oci::Descriptor& blob, const OpenAt& open, std::stop_token stop) {
  const bool wrong = distrusted_.Lock()->contains(blob.digest);
  if (!wrong && sent_.Lock()->contains(blob.digest)) return false;
  ++requests;
  TRY_ASSIGN(bool sent, storage_.PutAhead(blob, open, wrong ? IfThere::kReplace : IfThere::kKeep, std::move(stop)));
  if (wrong && sent) distrusted_.Lock()->erase(blob.digest);
  if (!sent) return false;
  sent_.Lock()->insert(blob.digest);
  bytes_written += blob.size;
  return true;
}

Status Wire::Send(const oci::Descriptor& blob, const OpenAt& open, std::stop_token stop) {
  TRY(Put(blob, open, std::move(stop)));
  return Ok();
}

Status Wire::Send(const oci::Descriptor& blob, const OpenAt& open, const OnProgress& on_progress, std::string id,
                  std::stop_token stop) {
  auto progress = std::make_shared<SentBytes>(on_progress, std::move(id), blob.size);
  OpenAt read = [progress, open](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
    TRY_ASSIGN(auto in, open(offset));
    return std::make_unique<SentReader>(std::move(in), progress);
  };
  TRY_ASSIGN(bool sent, Put(blob, read, std::move(stop)));
  if (!sent) progress->Done();
  return Ok();
}

Status Wire::PutGroup(const Group& group, const std::vector<Digest>& old, std::stop_token stop) {
  TRY_ASSIGN(std::string records, EncodeGroup(group));
  if (records.size() > kMaxRecordsBlob) {
    return Resource("the records of the cache take {}: give it a smaller max-size", FormatBytes(records.size()));
  }
  GroupEntry entry{.records = Describe(records, kRecordsMediaType)};
  TRY(Send(entry.records, OpenText(std::move(records)), stop));
  std::string manifest = oci::Serialise(ManifestOf(group, entry.records));
  entry.manifest = Describe(manifest, oci::kOciManifest);
  entry.manifest.artifact_type = kRecordsMediaType;
  requests += 2;
  TRY(storage_.Replace(entry, manifest, old, stop));
  bytes_written += manifest.size();
  return Ok();
}

}  // namespace varve::tier
