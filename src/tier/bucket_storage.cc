#include "tier/bucket_storage.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "base/guarded.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "oci/manifest.h"
#include "tier/group.h"
#include "tier/object_blobs.h"

namespace varve::tier {

namespace {

constexpr size_t kParallel = 8;
constexpr std::string_view kGroups = ".groups/";
constexpr std::string_view kAlgorithm = "sha256:";
// An exporter puts its blobs first and lists them afterwards: what is younger may be about to be named.
constexpr Nanos kGrace = std::chrono::hours(1);
// BuildKit's exporter refreshes what it names when it is older than a day.
constexpr Nanos kBuildKitGrace = std::chrono::hours(25);

std::string EntryOf(const GroupEntry& group) {
  return fmt::format("{}.{}.{}.{}", group.manifest.digest.Hex(), group.manifest.size, group.records.digest.Hex(),
                     group.records.size);
}

std::optional<oci::Descriptor> Described(const std::string& hex, const std::string& size, std::string_view media_type) {
  auto digest = Digest::Parse(std::string(kAlgorithm) + hex);
  auto bytes = ParseInt(size);
  if (!digest || !bytes || *bytes < 0) return {};
  return oci::Descriptor{
      .media_type = std::string(media_type), .digest = *digest, .size = static_cast<uint64_t>(*bytes)};
}

// Nothing for keys that are no entry: somebody else's, or a later version's.
std::optional<GroupEntry> ParseEntry(std::string_view entry) {
  std::vector<std::string> parts = Split(entry, '.');
  if (parts.size() != 4) return {};
  auto manifest = Described(parts[0], parts[1], oci::kOciManifest);
  auto records = Described(parts[2], parts[3], kRecordsMediaType);
  if (!manifest || !records) return {};
  manifest->artifact_type = kRecordsMediaType;
  return GroupEntry{std::move(*manifest), std::move(*records)};
}

class BucketStorage final : public ObjectBlobs {
 public:
  BucketStorage(std::unique_ptr<objects::ObjectStore> store, BucketLayout layout)
      : ObjectBlobs(std::move(store)), layout_(std::move(layout)) {}

  Result<std::vector<GroupEntry>> List(std::stop_token stop) override {
    TRY_ASSIGN(auto listed, ListName(layout_.names.front(), stop));
    for (size_t i = 1; i < layout_.names.size(); ++i) {
      TRY_ASSIGN(auto also, ListName(layout_.names[i], stop));
      std::erase_if(listed, [&](const GroupEntry& group) { return std::ranges::find(also, group) == also.end(); });
    }
    return listed;
  }

  Status Replace(const GroupEntry& added, const std::string& manifest_text, const std::vector<Digest>& old,
                 std::stop_token stop) override {
    for (const std::string& name : layout_.names) {
      TRY(store_->Put(GroupPrefix(name) + EntryOf(added), objects::BodyOf(manifest_text), stop));
    }
    std::vector<std::string> replaced;
    {
      auto known = keys_.Lock();
      for (const Digest& manifest : old) {
        if (manifest == added.manifest.digest) continue;
        const std::set<std::string>& keys = (*known)[manifest];
        replaced.insert(replaced.end(), keys.begin(), keys.end());
      }
    }
    if (replaced.empty()) return Ok();
    if (Status deleted = store_->Delete(replaced, stop); !deleted) {
      return Error(std::move(deleted).error()).With("the records were written, what they replace stays");
    }
    Status swept = Sweep(manifest_text, stop);
    if (!swept && swept.error().code == Code::kCancelled) return swept;
    // The next one removes what this one could not.
    if (!swept) LOG_WARN("{}: unused blobs stay: {}", store_->Name(), swept.error().message);
    return Ok();
  }

  Result<bool> Has(const oci::Descriptor& blob, std::stop_token stop) override {
    const std::string key = KeyOf(blob.digest);
    TRY_ASSIGN(auto there, store_->Head(key, stop));
    if (!there || there->size != blob.size) return false;  // cut short: send it again
    if (auto age = there->Age(); age && *age <= layout_.touch_refresh) return true;
    return store_->Refresh(key, stop);
  }

  Result<Freed> Free(const std::vector<oci::Descriptor>& blobs, std::stop_token stop) override {
    TRY_ASSIGN(auto manifests, Manifests(stop));
    TRY_ASSIGN(auto reached, Reached(manifests, stop));
    // Groups' manifests are no blobs here: Replace has removed them.
    auto is_named = [&](const oci::Descriptor& blob) {
      return reached.contains(KeyOf(blob.digest)) || blob.media_type == oci::kOciManifest;
    };
    return FreeUnnamed(blobs, is_named, std::move(stop));
  }

 private:
  std::string KeyOf(const Digest& digest) const override {
    return layout_.blobs_prefix + std::string(kAlgorithm) + digest.Hex();
  }
  std::string GroupPrefix(const std::string& name) const {
    return layout_.manifests_prefix + name + std::string(kGroups);
  }

  // The oldest first.
  Result<std::vector<GroupEntry>> ListName(const std::string& name, std::stop_token stop) {
    const std::string prefix = GroupPrefix(name);
    TRY_ASSIGN(auto listed, store_->List(prefix, stop));
    std::ranges::stable_sort(
        listed, {}, [](const objects::ListedObject& object) { return object.info.modified.value_or(Timestamp()); });
    std::vector<GroupEntry> groups;
    auto known = keys_.Lock();
    for (const objects::ListedObject& object : listed) {
      auto group = ParseEntry(std::string_view(object.key).substr(prefix.size()));
      if (!group) continue;
      (*known)[group->manifest.digest].insert(object.key);
      groups.push_back(std::move(*group));
    }
    return groups;
  }

  // What the manifest under a key leads to, added to `reached`. False: not to be told.
  Result<bool> Reach(const std::string& key, std::set<std::string>& reached, std::stop_token stop) {
    TRY_ASSIGN(auto text, objects::GetString(*store_, key, oci::kMaxManifestSize, stop));
    if (!text || text->empty()) return true;  // gone meanwhile, or a folder's marker
    auto json = Json::Parse(*text);
    if (!json) return false;
    if (auto manifest = oci::ParseManifest(*text)) {
      reached.insert(KeyOf(manifest->config.digest));
      for (const oci::Descriptor& layer : manifest->layers) reached.insert(KeyOf(layer.digest));
      return true;
    }
    // BuildKit's (reference: its cache config document): {"layers":[{"blob":"sha256:…"},…],…}.
    if (json->Find("layers") == nullptr && json->Find("records") == nullptr) return false;
    for (const Json& layer : json->GetArray("layers")) {
      auto digest = Digest::Parse(layer.GetString("blob"));
      if (!digest) return false;
      reached.insert(KeyOf(*digest));
    }
    return true;
  }

  // Keys of all manifests: of groups under any name, and of BuildKit.
  Result<std::vector<std::string>> Manifests(std::stop_token stop) {
    TRY_ASSIGN(auto listed, store_->List(layout_.manifests_prefix, stop));
    std::vector<std::string> keys;
    for (objects::ListedObject& object : listed) {
      bool is_blob = object.key.starts_with(layout_.blobs_prefix + std::string(kAlgorithm));
      if (!is_blob) keys.push_back(std::move(object.key));
    }
    return keys;
  }

  // Keys of the blobs that they lead to.
  Result<std::set<std::string>> Reached(const std::vector<std::string>& manifests, std::stop_token stop) {
    Guarded<std::set<std::string>> reached;
    std::atomic<bool> unknown = false;
    TRY(ParallelFor(manifests.size(), kParallel, [&](size_t i) -> Status {
      std::set<std::string> blobs;
      TRY_ASSIGN(bool told, Reach(manifests[i], blobs, stop));
      if (!told) unknown = true;
      reached.Lock()->merge(blobs);
      return Ok();
    }));
    if (unknown) return Invalid("{} holds a manifest of an unknown kind", layout_.manifests_prefix);
    return std::move(*reached.Lock());
  }

  // The blobs that are older than the grace.
  Result<std::set<std::string>> OldBlobs(Nanos grace, std::stop_token stop) {
    TRY_ASSIGN(auto listed, store_->List(layout_.blobs_prefix + std::string(kAlgorithm), stop));
    std::set<std::string> old;
    for (const objects::ListedObject& object : listed) {
      auto digest = Digest::Parse(object.key.substr(layout_.blobs_prefix.size()));
      auto age = object.info.Age();
      if (digest && age && *age > grace) old.insert(object.key);
    }
    return old;
  }

  // Blobs are listed before the groups are, and once more before they go: one that an exporter refreshed
  // meanwhile stays. One that is refreshed in the last moment is a miss of its step, and sent again.
  Status Sweep(const std::string& added_text, std::stop_token stop) {
    Nanos grace = kGrace + layout_.touch_refresh;
    TRY_ASSIGN(auto unused, OldBlobs(grace, stop));
    TRY_ASSIGN(auto added, oci::ParseManifest(added_text));
    unused.erase(KeyOf(added.config.digest));
    for (const oci::Descriptor& layer : added.layers) unused.erase(KeyOf(layer.digest));
    if (unused.empty()) return Ok();

    TRY_ASSIGN(auto manifests, Manifests(stop));
    for (const std::string& key : manifests) {
      if (key.find(kGroups) == key.npos) grace = std::max(grace, kBuildKitGrace);
    }
    TRY_ASSIGN(auto reached, Reached(manifests, stop));
    TRY_ASSIGN(auto still_old, OldBlobs(grace, stop));
    std::vector<std::string> dead;
    for (const std::string& key : unused) {
      if (still_old.contains(key) && !reached.contains(key)) dead.push_back(key);
    }
    return RemoveUnused(dead, std::move(stop));
  }

  const BucketLayout layout_;
  Guarded<std::map<Digest, std::set<std::string>>> keys_;  // of the groups that were listed
};

}  // namespace

std::unique_ptr<BlobStorage> MakeBucketStorage(std::unique_ptr<objects::ObjectStore> store, BucketLayout layout) {
  return std::make_unique<BucketStorage>(std::move(store), std::move(layout));
}

}  // namespace varve::tier
