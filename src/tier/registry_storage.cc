#include "tier/registry_storage.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "base/log.h"
#include "oci/manifest.h"
#include "tier/read_back.h"

namespace varve::tier {

namespace {

// Which tag a group's manifest, or an index, belongs to.
constexpr const char* kTag = "dev.varve.cache.tag";

// ECR takes no manifest of more than 500 layers, which no document of theirs says (nuonco/nuon#2348 measured it).
constexpr size_t kMostLayers = 400;

// The manifests that keep a group's blobs where a registry collects what nothing names. They are one but for large
// groups; of several each has the records for its config, and is this tag's alone: what is deleted by its digest was
// no other's. ECR takes no manifest without a layer either.
std::vector<oci::Manifest> KeepersOf(oci::Manifest manifest, const std::string& tag) {
  manifest.annotations.emplace_back(kTag, tag);
  if (manifest.layers.empty()) manifest.layers = {manifest.config};
  std::vector<oci::Manifest> keepers;
  for (size_t i = 0; i < manifest.layers.size(); i += kMostLayers) {
    oci::Manifest& keeper = keepers.emplace_back(manifest);
    auto begin = manifest.layers.begin() + static_cast<ptrdiff_t>(i);
    keeper.layers.assign(begin, begin + static_cast<ptrdiff_t>(std::min(kMostLayers, manifest.layers.size() - i)));
  }
  return keepers;
}

class RegistryStorage final : public BlobStorage {
 public:
  RegistryStorage(registry::Client& client, oci::Reference reference, net::Sleeper& sleeper, Clock& clock)
      : client_(client), reference_(reference.WithDefaultTag()), sleeper_(sleeper), clock_(clock) {}

  Result<std::vector<GroupEntry>> List(std::stop_token stop) override {
    TRY_ASSIGN(Document document, Read(stop));
    std::set<Digest> seen;
    std::erase_if(document.groups, [&](const GroupEntry& group) { return !seen.insert(group.records.digest).second; });
    return std::move(document.groups);
  }

  Status Replace(const GroupEntry& added, const std::string& manifest_text, const std::vector<Digest>& old,
                 std::stop_token stop) override {
    TRY_ASSIGN(oci::Manifest manifest, oci::ParseManifest(manifest_text));
    std::vector<GroupEntry> own;
    for (const oci::Manifest& keeper : KeepersOf(std::move(manifest), reference_.tag)) {
      const std::string text = oci::Serialise(keeper);
      GroupEntry& entry = own.emplace_back(added);
      entry.manifest.digest = Digest::Of(text);
      entry.manifest.size = text.size();
      TRY(client_.PushManifest(Exactly(entry.manifest.digest), entry.manifest.media_type, text, stop));
    }

    TRY_ASSIGN(Dropped due, Write(own, old, kDroppedGraceSeconds, stop));
    auto deleted = Delete(due, stop);
    if (!deleted && deleted.error().code == Code::kCancelled) return std::move(deleted).error();
    if (!deleted) LOG_WARN("{}: replaced manifests stay: {}", reference_.Familiar(), deleted.error().message);
    return Ok();
  }

  // Everything that this tag has let go of so far.
  Result<Freed> Free(const std::vector<oci::Descriptor>&, std::stop_token stop) override {
    TRY_ASSIGN(Dropped due, Write({}, {}, -1, stop));
    TRY_ASSIGN(auto deleted, Delete(due, stop));
    if (!deleted) return Freed{.how = Freed::How::kNever};
    return Freed{.how = Freed::How::kCollected, .count = *deleted};
  }

  Result<bool> Has(const oci::Descriptor& blob, std::stop_token stop) override {
    return client_.HasBlob(reference_, blob.digest, stop);
  }

  Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override {
    return client_.FetchBlob(reference_, blob, out, stop);
  }

  bool HasParts() const override { return true; }

  Status GetPart(const oci::Descriptor& blob, uint64_t offset, uint64_t size, Writer& out,
                 std::stop_token stop) override {
    TRY_ASSIGN(std::string part, client_.FetchBlobPart(reference_, blob, offset, size, stop));
    return out.Write(part);
  }

  Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there, std::stop_token stop) override {
    if (if_there == IfThere::kReplace) {
      TRY(client_.ReplaceBlob(reference_, blob, open, stop));
      return true;
    }
    TRY_ASSIGN(auto pushed, client_.PushBlob(reference_, blob, open, {}, stop));
    return pushed == registry::Pushed::kUploaded;
  }

 private:
  // The index as it lies there; without a digest: none.
  struct Document {
    std::vector<GroupEntry> groups;  // a large one has several entries
    Dropped dropped;
    std::optional<Digest> digest;
  };

  Result<Document> Read(std::stop_token stop) {
    auto document = client_.FetchManifest(reference_, stop);
    if (!document) {
      if (document.error().code == Code::kNotFound) return Document();
      return Error(std::move(document).error());
    }
    TRY_ASSIGN(auto groups, ParseGroupIndex(document->text));
    TRY_ASSIGN(oci::Index index, oci::ParseIndex(document->text));
    return Document{std::move(groups), DroppedOf(index.annotations), Digest::Of(document->text)};
  }

  oci::Reference Exactly(const Digest& digest) const {
    oci::Reference exact = reference_;
    exact.tag.clear();
    exact.digest = digest;
    return exact;
  }

  // `groups` without those of which `old` names a manifest, and with `own`, once.
  static std::vector<GroupEntry> Merge(std::vector<GroupEntry> groups, const std::vector<GroupEntry>& own,
                                       const std::vector<Digest>& old) {
    std::set<Digest> gone;  // by their records
    for (const GroupEntry& group : groups) {
      if (std::ranges::find(old, group.manifest.digest) != old.end()) gone.insert(group.records.digest);
    }
    for (const GroupEntry& group : own) gone.insert(group.records.digest);
    std::erase_if(groups, [&](const GroupEntry& group) { return gone.contains(group.records.digest); });
    groups.insert(groups.end(), own.begin(), own.end());
    return groups;
  }

  // Adds `own`, the entries of a group, in place of `old`, and notes what the tag leads to no longer. What was noted
  // longer ago than the grace is noted no more, and returned.
  Result<Dropped> Write(const std::vector<GroupEntry>& own, const std::vector<Digest>& old, int64_t grace_seconds,
                        std::stop_token stop) {
    Dropped due;  // of the merge that stayed
    auto merge = [&]() -> Result<std::string> {
      TRY_ASSIGN(auto before, Read(stop));
      std::vector<GroupEntry> groups = Merge(before.groups, own, old);
      Dropped dropped = std::move(before.dropped);
      const int64_t now = clock_.Now().seconds();
      if (before.digest) dropped.emplace(*before.digest, now);
      for (const GroupEntry& group : before.groups) dropped.emplace(group.manifest.digest, now);
      for (const GroupEntry& group : groups) dropped.erase(group.manifest.digest);
      due.clear();
      for (const auto& [digest, when] : dropped) {
        if (now - when > grace_seconds) due.emplace(digest, when);
      }
      for (const auto& [digest, when] : due) dropped.erase(digest);
      oci::Annotations annotations = {{std::string(kTag), reference_.tag}};
      SetDropped(annotations, dropped);
      std::string index = SerialiseGroupIndex(groups, std::move(annotations));
      TRY(client_.PushManifest(reference_, std::string(oci::kOciIndex), index, stop));
      due.erase(Digest::Of(index));
      return index;
    };
    auto is = [&](const std::string& index) -> Result<bool> {
      TRY_ASSIGN(auto now, client_.Resolve(reference_, {}, stop));
      return now.digest == Digest::Of(index);
    };
    auto holds = [&]() -> Result<bool> {
      TRY_ASSIGN(Document document, Read(stop));
      return std::ranges::all_of(own, [&](const GroupEntry& entry) {
        return std::ranges::find(document.groups, entry.manifest.digest, [](const GroupEntry& group) {
                 return group.manifest.digest;
               }) != document.groups.end();
      });
    };
    TRY(MergeAndReadBack({reference_.Familiar(), merge, is, holds}, sleeper_, stop));
    return due;
  }

  // Manifests and indexes that this tag alone led to: the registry can collect what they name. How many;
  // nothing: the registry does not let them be deleted.
  Result<std::optional<size_t>> Delete(const Dropped& due, std::stop_token stop) {
    size_t count = 0;
    for (const auto& [digest, when] : due) {
      auto document = client_.FetchManifest(Exactly(digest), stop);
      if (!document && document.error().code == Code::kNotFound) continue;
      if (!document) return Error(std::move(document).error());
      auto json = Json::Parse(document->text);
      const Json* annotations = json ? json->Find("annotations") : nullptr;
      // One of an earlier version of varve may be another tag's, too.
      if (annotations == nullptr || annotations->GetString(kTag) != reference_.tag) continue;
      TRY_ASSIGN(bool deletes, client_.DeleteManifest(Exactly(digest), stop));
      if (!deletes) return std::optional<size_t>();  // its own clean-up has to
      ++count;
    }
    return std::optional(count);
  }

  registry::Client& client_;
  const oci::Reference reference_;
  net::Sleeper& sleeper_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<BlobStorage> MakeRegistryStorage(registry::Client& client, oci::Reference reference,
                                                 net::Sleeper& sleeper, Clock& clock) {
  return std::make_unique<RegistryStorage>(client, std::move(reference), sleeper, clock);
}

}  // namespace varve::tier
