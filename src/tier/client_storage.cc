#include "tier/client_storage.h"

#include <algorithm>
#include <mutex>

#include "base/small_blob.h"
#include "oci/manifest.h"

namespace varve::tier {

namespace {

class ClientStorage final : public BlobStorage {
 public:
  explicit ClientStorage(ClientLayout layout)
      : blobs_(std::move(layout.blobs)), note_(std::move(layout.note)), listed_(std::move(layout.listed)),
        top_(std::move(layout.top)) {}

  Result<std::vector<GroupEntry>> List(std::stop_token stop) override {
    std::lock_guard lock(mutex_);
    return Groups(std::move(stop));
  }

  Status Replace(const GroupEntry& added, const std::string& manifest_text, const std::vector<Digest>& old,
                 std::stop_token stop) override {
    std::lock_guard lock(mutex_);
    TRY_ASSIGN(auto groups, Groups(stop));
    TRY(PutText(manifest_text, stop));
    const std::string index = SerialiseGroupIndex(Merged(std::move(groups), added, old));
    TRY(PutText(index, stop));
    top_ = Digest::Of(index);
    if (listed_) {
      listed_({.media_type = std::string(oci::kOciIndex),
               .digest = *top_,
               .size = index.size(),
               .artifact_type = std::string(kArtifactType)});
    }
    return Ok();
  }

  Result<bool> Has(const oci::Descriptor& blob, std::stop_token stop) override {
    TRY_ASSIGN(auto size, blobs_->Size(blob.digest, std::move(stop)));
    return size == blob.size;
  }

  Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override {
    return blobs_->Read(blob.digest, out, std::move(stop));
  }

  bool HasParts() const override { return true; }

  Status GetPart(const oci::Descriptor& blob, uint64_t offset, uint64_t size, Writer& out,
                 std::stop_token stop) override {
    if (offset >= blob.size) return Ok();
    TRY_ASSIGN(std::string part,
               blobs_->ReadPart(blob.digest, offset, std::min(size, blob.size - offset), std::move(stop)));
    return out.Write(part);
  }

  // A content store replaces nothing: damage stays until the client removes the blob.
  Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, IfThere, std::stop_token stop) override {
    TRY_ASSIGN(bool there, Has(blob, stop));
    if (there) return false;
    TRY_ASSIGN(auto in, open(0));
    TRY(blobs_->Write(blob.digest, blob.size, *in, std::move(stop)));
    return true;
  }

 private:
  Status PutText(const std::string& text, std::stop_token stop) {
    StringReader in(text);
    return blobs_->Write(Digest::Of(text), text.size(), in, std::move(stop));
  }

  Result<std::vector<GroupEntry>> Groups(std::stop_token stop) {
    if (!top_) return std::vector<GroupEntry>();
    auto text = ReadSmallBlob(*blobs_, *top_, oci::kMaxManifestSize, std::move(stop));
    if (!text && text.error().code != Code::kInvalid) return std::move(text).error();
    if (text && !*text) return std::vector<GroupEntry>();
    auto groups = text ? ParseGroupIndex(**text) : std::move(text).error();
    if (groups) return groups;
    if (note_) note_(groups.error().message);
    top_.reset();
    return std::vector<GroupEntry>();
  }

  const std::shared_ptr<RemoteBlobs> blobs_;
  const std::function<void(std::string)> note_;
  const std::function<void(const oci::Descriptor&)> listed_;
  std::mutex mutex_;
  std::optional<Digest> top_;  // guarded by mutex_
};

Result<std::string> CopyDocument(const Digest& digest, RemoteBlobs& from, RemoteBlobs& to, std::stop_token stop) {
  TRY_ASSIGN(auto text, ReadSmallBlob(from, digest, oci::kMaxManifestSize, stop));
  if (!text) return NotFound("blob {} is not in the client's store", digest.ToString());
  StringReader in(*text);
  TRY(to.Write(digest, text->size(), in, std::move(stop)));
  return std::move(*text);
}

// Through memory a piece at a time: a blob may be gigabytes, and the one who reads is the one who writes.
class PartsOf final : public Reader {
 public:
  PartsOf(RemoteBlobs& from, const oci::Descriptor& blob, std::stop_token stop)
      : from_(from), blob_(blob), stop_(std::move(stop)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    const uint64_t size = std::min<uint64_t>(buffer.size(), blob_.size - at_);
    TRY_ASSIGN(std::string part, from_.ReadPart(blob_.digest, at_, size, stop_));
    std::ranges::copy(part, buffer.begin());
    at_ += size;
    return static_cast<size_t>(size);
  }

 private:
  RemoteBlobs& from_;
  const oci::Descriptor& blob_;
  const std::stop_token stop_;
  uint64_t at_ = 0;
};

}  // namespace

std::unique_ptr<BlobStorage> MakeClientStorage(ClientLayout layout) {
  return std::make_unique<ClientStorage>(std::move(layout));
}

Status CopyClientLayout(const oci::Descriptor& top, RemoteBlobs& from, RemoteBlobs& to, std::stop_token stop) {
  TRY_ASSIGN(std::string list, CopyDocument(top.digest, from, to, stop));
  TRY_ASSIGN(auto groups, ParseGroupIndex(list));
  for (const GroupEntry& group : groups) {
    TRY_ASSIGN(std::string text, CopyDocument(group.manifest.digest, from, to, stop));
    TRY_ASSIGN(oci::Manifest manifest, oci::ParseManifest(text));
    std::vector<oci::Descriptor> blobs = std::move(manifest.layers);
    blobs.push_back(std::move(manifest.config));
    for (const oci::Descriptor& blob : blobs) {
      TRY_ASSIGN(auto there, to.Size(blob.digest, stop));
      if (there) continue;
      PartsOf in(from, blob, stop);
      TRY(to.Write(blob.digest, blob.size, in, stop));
    }
  }
  return Ok();
}

}  // namespace varve::tier
