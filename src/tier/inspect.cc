#include "tier/inspect.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "tier/shrink.h"
#include "tier/wire.h"

namespace varve::tier {

namespace {

constexpr size_t kParallel = 8;

OpenAt OpenPath(const std::string& path) {
  class FileReader final : public Reader {
   public:
    explicit FileReader(Fd file) : file_(std::move(file)), in_(file_.get()) {}
    Result<size_t> Read(std::span<char> buffer) override { return in_.Read(buffer); }

   private:
    const Fd file_;
    FdReader in_;
  };
  return [path](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
    TRY_ASSIGN(Fd file, OpenFile(path, O_RDONLY));
    if (lseek(file.get(), static_cast<off_t>(offset), SEEK_SET) < 0) {
      return Internal("cannot seek in {}", path);
    }
    return std::make_unique<FileReader>(std::move(file));
  };
}

// Stops a server that sends more than it said.
class BoundedWriter final : public Writer {
 public:
  BoundedWriter(Writer* out, uint64_t limit) : hash_(out), limit_(limit) {}
  Status Write(std::string_view data) override {
    if (hash_.size() + data.size() > limit_) return Corrupt("it is longer than its descriptor says");
    return hash_.Write(data);
  }
  HashingWriter& hash() { return hash_; }

 private:
  HashingWriter hash_;
  const uint64_t limit_;
};

// What is wrong with the blob, empty: nothing. An error is that of the storage as a whole.
Result<std::string> GetVerified(BlobStorage& storage, const oci::Descriptor& blob, Writer* out, std::stop_token stop) {
  BoundedWriter writer(out, blob.size);
  Status got = storage.Get(blob, writer, stop);
  if (!got && got.error().code == Code::kNotFound) return "it is gone";
  if (!got && got.error().code == Code::kCorrupt) return got.error().message;
  TRY(std::move(got));
  if (writer.hash().size() != blob.size) {
    return fmt::format("it has {} of {} bytes", writer.hash().size(), blob.size);
  }
  Digest digest = writer.hash().Finish();
  return digest == blob.digest ? "" : "it has the digest " + digest.ToString();
}

Result<Group> ReadGroup(BlobStorage& storage, const GroupEntry& entry, std::stop_token stop) {
  if (entry.records.media_type != kRecordsMediaType) {
    return Corrupt("records of an unknown kind: {}", entry.records.media_type);
  }
  if (entry.records.size > kMaxRecordsBlob) return Corrupt("its records are too large");
  StringWriter text;
  TRY_ASSIGN(std::string wrong, GetVerified(storage, entry.records, &text, stop));
  if (!wrong.empty()) return Corrupt("its records: {}", wrong);
  return DecodeGroup(text.text);
}

// By blob, what needs it: names of the steps whose layer it is of, and cache mounts.
std::map<Digest, std::set<std::string>> NeedersOf(const Group& group) {
  std::map<DiffId, std::set<std::string>> steps;
  for (const cache::StepRecord& record : group.records) {
    for (const cache::Rootfs& output : record.outputs) {
      if (!output.layers.empty()) steps[output.layers.back()].insert(record.name);
    }
  }
  std::map<Digest, std::set<std::string>> by_blob;
  for (const StoredLayer& layer : group.layers) {
    for (const oci::Descriptor& blob : layer.Blobs()) {
      by_blob[blob.digest].insert(steps[layer.layer].begin(), steps[layer.layer].end());
    }
  }
  for (const StoredMount& mount : group.mounts) {
    for (const oci::Descriptor& blob : mount.tar.Blobs()) {
      by_blob[blob.digest].insert("cache mount " + mount.key);
    }
  }
  return by_blob;
}

void Tell(const OnProgress& on_progress, std::string_view verb, const oci::Descriptor& blob) {
  if (on_progress) on_progress(fmt::format("{} {}", verb, blob.digest.Short()), blob.size, blob.size, true);
}

}  // namespace

Group StoredGroups::Merged() const { return MergeGroups(groups); }

std::vector<Digest> StoredGroups::Manifests() const {
  std::vector<Digest> manifests;
  for (const GroupEntry& entry : entries) manifests.push_back(entry.manifest.digest);
  for (const DamagedGroup& group : damaged) manifests.push_back(group.manifest);
  return manifests;
}

std::vector<oci::Descriptor> StoredGroups::Blobs() const {
  std::map<Digest, oci::Descriptor> blobs;
  for (size_t i = 0; i < groups.size(); ++i) {
    for (oci::Descriptor& blob : BlobsOf(groups[i])) blobs.try_emplace(blob.digest, std::move(blob));
    for (const oci::Descriptor& own : {entries[i].records, entries[i].manifest}) blobs.try_emplace(own.digest, own);
  }
  std::vector<oci::Descriptor> all;
  for (auto& [digest, blob] : blobs) all.push_back(std::move(blob));
  return all;
}

Result<StoredGroups> ReadGroups(BlobStorage& storage, std::stop_token stop) {
  TRY_ASSIGN(auto listed, storage.List(stop));
  std::vector<std::optional<Group>> read(listed.size());
  std::vector<std::string> why(listed.size());
  TRY(ParallelFor(listed.size(), kParallel, [&](size_t i) -> Status {
    auto group = ReadGroup(storage, listed[i], stop);
    if (group) {
      read[i] = std::move(*group);
      return Ok();
    }
    if (group.error().code != Code::kCorrupt) return Error(std::move(group).error());
    why[i] = group.error().message;
    return Ok();
  }));
  StoredGroups stored;
  for (size_t i = 0; i < listed.size(); ++i) {
    if (read[i]) {
      stored.entries.push_back(std::move(listed[i]));
      stored.groups.push_back(std::move(*read[i]));
    } else {
      stored.damaged.push_back({listed[i].manifest.digest, std::move(why[i])});
    }
  }
  return stored;
}

std::vector<oci::Descriptor> BlobsOf(const Group& group) {
  // What the manifest keeps alive is what the group needs.
  return ManifestOf(group, {}).layers;
}

Result<std::vector<BlobDamage>> CheckBlobs(BlobStorage& storage, const Group& group, const OnProgress& on_progress,
                                           std::stop_token stop) {
  auto blobs = BlobsOf(group);
  auto needers = NeedersOf(group);
  std::vector<std::string> wrong(blobs.size());
  TRY(ParallelFor(blobs.size(), kParallel, [&](size_t i) -> Status {
    TRY_ASSIGN(wrong[i], GetVerified(storage, blobs[i], nullptr, stop));
    Tell(on_progress, "checking", blobs[i]);
    return Ok();
  }));
  std::vector<BlobDamage> damage;
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (!wrong[i].empty()) damage.push_back({blobs[i], wrong[i], needers[blobs[i].digest]});
  }
  return damage;
}

Result<Copied> CopyGroups(BlobStorage& from, BlobStorage& to, const std::string& scratch, const OnProgress& on_progress,
                          std::stop_token stop) {
  TRY_ASSIGN(StoredGroups stored, ReadGroups(from, stop));
  Copied copied;
  if (stored.groups.empty()) return copied;
  Group group = stored.Merged();
  auto blobs = BlobsOf(group);
  auto needers = NeedersOf(group);
  Guarded<Copied> counted;
  std::vector<std::string> wrong(blobs.size());
  auto copy = [&](size_t i) -> Status {
    TRY_ASSIGN(bool there, to.Has(blobs[i], stop));
    if (there) {
      ++counted.Lock()->there;
      return Ok();
    }
    std::string path = scratch + "/" + blobs[i].digest.Hex();
    {
      TRY_ASSIGN(Fd file, OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
      FdWriter out(file.get());
      TRY_ASSIGN(wrong[i], GetVerified(from, blobs[i], &out, stop));
    }
    if (!wrong[i].empty()) return Ok();
    TRY(to.Put(blobs[i], OpenPath(path), IfThere::kKeep, stop));
    Tell(on_progress, "copying", blobs[i]);
    auto sum = counted.Lock();
    ++sum->blobs;
    sum->bytes += blobs[i].size;
    return Ok();
  };
  TRY(ParallelFor(blobs.size(), kParallel, copy));
  copied = std::move(*counted.Lock());
  std::set<Digest> missing;
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (wrong[i].empty()) continue;
    copied.left_out.push_back({blobs[i], wrong[i], needers[blobs[i].digest]});
    missing.insert(blobs[i].digest);
  }
  DropBlobs(group, missing);
  copied.records = group.records.size();
  TRY(Wire(to).PutGroup(group, {}, stop));
  return copied;
}

void PruneGroup(Group& group, const PruneLimits& limits, Timestamp now) {
  if (limits.older_than) {
    DropRecords(group, [&](const cache::StepRecord& record) { return record.created < *limits.older_than; });
    std::erase_if(group.mounts, [&](const StoredMount& mount) { return mount.created < *limits.older_than; });
  }
  if (limits.max_size) Shrink(group, *limits.max_size, now, {});
}

}  // namespace varve::tier
