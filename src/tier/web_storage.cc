#include "tier/web_storage.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "base/guarded.h"
#include "oci/layout.h"
#include "oci/manifest.h"
#include "tier/action_result.h"
#include "tier/object_blobs.h"
#include "tier/read_back.h"

namespace varve::tier {

namespace {

constexpr std::string_view kBazelIndex = "varve cache index 1";

// The index as it lies there.
struct Document {
  std::vector<GroupEntry> groups;
  Dropped dropped;   // when, by the server's clock
  std::string etag;  // empty: no index yet, or a server without
  bool exists = false;
  std::optional<int64_t> now;  // of the server; without it nothing is ever deleted
};

class BoundedText final : public Writer {
 public:
  Status Write(std::string_view data) override {
    if (text.size() + data.size() > oci::kMaxManifestSize) return Invalid("the index is too large");
    text.append(data);
    return Ok();
  }
  std::string text;
};

class WebStorage final : public ObjectBlobs {
 public:
  WebStorage(std::unique_ptr<objects::ObjectStore> store, WebLayout layout, net::Sleeper& sleeper)
      : ObjectBlobs(std::move(store)), bazel_(layout == WebLayout::kBazel),
        index_(bazel_ ? "ac/" + Digest::Of(kBazelIndex).Hex() : "index.json"), sleeper_(sleeper) {}

  Result<std::vector<GroupEntry>> List(std::stop_token stop) override {
    TRY_ASSIGN(Document document, Read(stop));
    *dropped_.Lock() = document.dropped;
    return std::move(document.groups);
  }

  Status Replace(const GroupEntry& added, const std::string& manifest_text, const std::vector<Digest>& old,
                 std::stop_token stop) override {
    TRY(store_->Put(KeyOf(added.manifest.digest), objects::BodyOf(manifest_text), stop));
    TRY_ASSIGN(auto parsed, oci::ParseManifest(manifest_text));
    manifests_.Lock()->emplace(added.manifest.digest, NamedBy(parsed, added.manifest.digest));
    bool conditional = false;
    if (!bazel_) {
      TRY_ASSIGN(conditional, store_->HasConditions(stop));
    }
    std::vector<Digest> dead;  // of the attempt that succeeded
    for (int n = 0; conditional && n < kMaxMerges; ++n) {
      TRY_ASSIGN(Document document, Read(stop));
      // A weak tag never matches (RFC 9110 §13.1.1), and without one there is no condition.
      if (document.exists && (document.etag.empty() || document.etag.starts_with("W/"))) break;
      TRY_ASSIGN(dead, Merge(document, added, old, stop));
      TRY_ASSIGN(bool written, store_->PutIf(index_, TextOf(document), {.etag = document.etag}, stop));
      if (written) return Remove(dead, stop);
      if (!StepBack(sleeper_, stop)) return Cancelled("the export was cancelled");
    }
    auto merge = [&]() -> Result<std::string> {
      TRY_ASSIGN(Document document, Read(stop));
      TRY_ASSIGN(dead, Merge(document, added, old, stop));
      std::string text = TextOf(document);
      TRY(store_->Put(index_, objects::BodyOf(bazel_ ? AsActionResult(text) : text), stop));
      return text;
    };
    auto is = [&](const std::string& text) -> Result<bool> {
      TRY_ASSIGN(auto now, objects::GetString(*store_, index_, oci::kMaxManifestSize, stop));
      return now && TextIn(std::move(*now)) == text;
    };
    auto holds = [&]() -> Result<bool> {
      TRY_ASSIGN(Document document, Read(stop));
      return std::ranges::any_of(
          document.groups, [&](const GroupEntry& group) { return group.manifest.digest == added.manifest.digest; });
    };
    TRY(MergeAndReadBack({store_->Name(), merge, is, holds}, sleeper_, stop));
    return Remove(dead, stop);
  }

  Result<bool> Has(const oci::Descriptor& blob, std::stop_token stop) override {
    if (dropped_.Lock()->contains(blob.digest)) return false;
    TRY_ASSIGN(auto there, store_->Head(KeyOf(blob.digest), stop));
    return there && there->size == blob.size;  // cut short: send it again
  }

  Result<Freed> Free(const std::vector<oci::Descriptor>& blobs, std::stop_token stop) override {
    if (bazel_) return Freed{.how = Freed::How::kNever};
    TRY_ASSIGN(Document document, Read(stop));
    std::set<Digest> named;
    for (const GroupEntry& group : document.groups) {
      TRY_ASSIGN(auto of_group, BlobsOf(group.manifest.digest, stop));
      if (!of_group) return Invalid("{}: a group's manifest is gone, so that nothing is removed", store_->Name());
      named.merge(*of_group);
    }
    auto is_named = [&](const oci::Descriptor& blob) { return named.contains(blob.digest); };
    return FreeUnnamed(blobs, is_named, std::move(stop));
  }

 private:
  std::string KeyOf(const Digest& digest) const override {
    return bazel_ ? "cas/" + digest.Hex() : oci::LayoutBlobPath(digest);
  }

  Result<Document> Read(std::stop_token stop) {
    BoundedText out;
    TRY_ASSIGN(auto info, store_->Get(index_, {}, out, stop));
    // An index that was there is believed to be gone when the server says so twice.
    if (!info && seen_) {
      TRY_ASSIGN(info, store_->Get(index_, {}, out, stop));
    }
    Document document;
    if (!info) return document;
    seen_ = document.exists = true;
    document.etag = info->etag;
    if (info->now && !bazel_) document.now = info->now->seconds();
    const std::string text = TextIn(std::move(out.text));
    auto groups = ParseGroupIndex(text);
    if (!groups) {
      Error error = std::move(groups).error();
      error.message = fmt::format("{}/{}: {}", store_->Name(), index_, error.message);
      error.hint = "use another url, or delete that file";
      return error;
    }
    document.groups = std::move(*groups);
    TRY_ASSIGN(oci::Index index, oci::ParseIndex(text));
    document.dropped = DroppedOf(index.annotations);
    return document;
  }

  // Of what lies under index_. As it is, where a bazel-remote took any bytes.
  std::string TextIn(std::string bytes) const {
    if (!bazel_ || bytes.starts_with('{')) return bytes;
    auto text = TextOfActionResult(bytes);
    return text ? std::move(*text) : std::move(bytes);
  }

  static std::string TextOf(const Document& document) {
    oci::Annotations annotations;
    SetDropped(annotations, document.dropped);
    return SerialiseGroupIndex(document.groups, std::move(annotations));
  }

  static std::set<Digest> NamedBy(const oci::Manifest& manifest, const Digest& digest) {
    std::set<Digest> blobs = {digest, manifest.config.digest};
    for (const oci::Descriptor& layer : manifest.layers) blobs.insert(layer.digest);
    return blobs;
  }

  // What a group's manifest leads to, itself included; nothing when it is gone or damaged.
  Result<std::optional<std::set<Digest>>> BlobsOf(const Digest& manifest, std::stop_token stop) {
    std::optional<std::set<Digest>> blobs;
    if (auto known = manifests_.Lock(); known->contains(manifest)) blobs = known->at(manifest);
    if (blobs) return blobs;
    TRY_ASSIGN(auto text, objects::GetString(*store_, KeyOf(manifest), oci::kMaxManifestSize, stop));
    if (!text || Digest::Of(*text) != manifest) return blobs;
    auto parsed = oci::ParseManifest(*text);
    if (!parsed) return blobs;
    blobs = NamedBy(*parsed, manifest);
    manifests_.Lock()->emplace(manifest, *blobs);
    return blobs;
  }

  // Makes the document the next one: with `added`, without `old`, with the blobs of the old ones that
  // nothing else leads to among the dropped. What was dropped an hour ago is no longer in it, but in
  // the answer: to be removed once the document is written.
  Result<std::vector<Digest>> Merge(Document& document, const GroupEntry& added, const std::vector<Digest>& old,
                                    std::stop_token stop) {
    std::vector<GroupEntry> before = document.groups;
    document.groups = Merged(std::move(document.groups), added, old);
    if (!document.now) return std::vector<Digest>();
    for (const GroupEntry& group : before) {
      auto same = [&](const GroupEntry& other) { return other.manifest.digest == group.manifest.digest; };
      if (std::ranges::any_of(document.groups, same)) continue;
      TRY_ASSIGN(auto blobs, BlobsOf(group.manifest.digest, stop));
      if (!blobs) continue;
      for (const Digest& blob : *blobs) document.dropped.emplace(blob, *document.now);
    }
    if (document.dropped.empty()) return std::vector<Digest>();
    bool told = true;
    for (const GroupEntry& group : document.groups) {
      TRY_ASSIGN(auto blobs, BlobsOf(group.manifest.digest, stop));
      if (!blobs) told = false;
      else
        for (const Digest& blob : *blobs) document.dropped.erase(blob);
    }
    std::vector<Digest> dead;
    if (!told) return dead;  // what that group leads to is not known: nothing goes
    for (auto& [blob, when] : document.dropped) {
      if (*document.now - when <= kDroppedGraceSeconds) continue;
      TRY_ASSIGN(auto there, store_->Head(KeyOf(blob), stop));
      auto age = there ? there->Age() : std::nullopt;
      // Sent again by somebody who is about to name it.
      if (age && *age <= std::chrono::seconds(kDroppedGraceSeconds)) when = *document.now;
      else dead.push_back(blob);
    }
    for (const Digest& blob : dead) document.dropped.erase(blob);
    return dead;
  }

  Status Remove(const std::vector<Digest>& dead, std::stop_token stop) {
    std::vector<std::string> keys;
    for (const Digest& blob : dead) keys.push_back(KeyOf(blob));
    return RemoveUnused(keys, std::move(stop));
  }

  const bool bazel_;
  const std::string index_;
  net::Sleeper& sleeper_;
  std::atomic<bool> seen_ = false;  // the index
  Guarded<Dropped> dropped_;        // as the last look-up saw them
  Guarded<std::map<Digest, std::set<Digest>>> manifests_;
};

}  // namespace

std::unique_ptr<BlobStorage> MakeWebStorage(std::unique_ptr<objects::ObjectStore> store, WebLayout layout,
                                            net::Sleeper& sleeper) {
  return std::make_unique<WebStorage>(std::move(store), layout, sleeper);
}

}  // namespace varve::tier
