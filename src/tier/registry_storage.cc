#include "tier/registry_storage.h"

#include <algorithm>
#include <random>

#include "base/clock.h"
#include "oci/manifest.h"

namespace varve::tier {

namespace {

constexpr int kMerges = 40;            // twenty exporters at once need about six
constexpr Nanos kLeastWait{250'000'000};

class RegistryStorage final : public BlobStorage {
 public:
  RegistryStorage(registry::Client& client, oci::Reference reference, net::Sleeper& sleeper)
      : client_(client), reference_(reference.WithDefaultTag()), sleeper_(sleeper) {}

  Result<std::vector<GroupEntry>> List(std::stop_token stop) override {
    auto document = client_.FetchManifest(reference_, stop);
    if (!document) {
      if (document.error().code == Code::kNotFound) return std::vector<GroupEntry>();
      return Error(std::move(document).error());
    }
    return ParseGroupIndex(document->text);
  }

  Status Replace(const GroupEntry& added, const std::string& manifest_text,
                 const std::vector<Digest>& old, std::stop_token stop) override {
    oci::Reference exact = reference_;
    exact.tag.clear();
    exact.digest = added.manifest.digest;
    TRY(client_.PushManifest(exact, added.manifest.media_type, manifest_text, stop));
    for (int n = 0; n < kMerges; ++n) {
      Nanos began = SystemClock().Monotonic();
      TRY_ASSIGN(auto groups, List(stop));
      std::string text = SerialiseGroupIndex(Merged(std::move(groups), added, old));
      TRY(client_.PushManifest(reference_, std::string(oci::kOciIndex), text, stop));
      Nanos wait = std::max(kLeastWait, 4 * (SystemClock().Monotonic() - began));
      TRY_ASSIGN(bool kept, StaysThere(added, Digest::Of(text), wait, stop));
      if (kept) return Ok();
      sleeper_.Sleep(Nanos(std::random_device()() % 200'000'000), stop);
    }
    return Unavailable("{} was overwritten by others {} times", reference_.Familiar(), kMerges);
  }

  Result<bool> Has(const oci::Descriptor& blob, std::stop_token stop) override {
    return client_.HasBlob(reference_, blob.digest, stop);
  }

  Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override {
    return client_.FetchBlob(reference_, blob, out, stop);
  }

  Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, std::stop_token stop) override {
    TRY_ASSIGN(auto pushed, client_.PushBlob(reference_, blob, open, {}, stop));
    return pushed == registry::Pushed::kUploaded;
  }

 private:
  // Looks once if nobody else is writing, else until two looks in a row have seen the group.
  Result<bool> StaysThere(const GroupEntry& added, Digest expected, Nanos wait, std::stop_token stop) {
    for (int seen = 0; seen < 2; ++seen) {
      if (!sleeper_.Sleep(wait, stop)) return Cancelled("the export was cancelled");
      TRY_ASSIGN(auto now, client_.Resolve(reference_, {}, stop));
      if (now.digest == expected) return true;
      TRY_ASSIGN(auto groups, List(stop));
      bool kept = std::ranges::any_of(groups, [&](const GroupEntry& group) {
        return group.manifest.digest == added.manifest.digest;
      });
      if (!kept) return false;
    }
    return true;
  }

  registry::Client& client_;
  const oci::Reference reference_;
  net::Sleeper& sleeper_;
};

}  // namespace

std::unique_ptr<BlobStorage> MakeRegistryStorage(registry::Client& client, oci::Reference reference,
                                                 net::Sleeper& sleeper) {
  return std::make_unique<RegistryStorage>(client, std::move(reference), sleeper);
}

}  // namespace varve::tier
