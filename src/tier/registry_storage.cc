#include "tier/registry_storage.h"

#include <algorithm>

#include "oci/manifest.h"
#include "tier/read_back.h"

namespace varve::tier {

namespace {

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
    auto merge = [&]() -> Result<std::string> {
      TRY_ASSIGN(auto groups, List(stop));
      std::string text = SerialiseGroupIndex(Merged(std::move(groups), added, old));
      TRY(client_.PushManifest(reference_, std::string(oci::kOciIndex), text, stop));
      return text;
    };
    auto is = [&](const std::string& text) -> Result<bool> {
      TRY_ASSIGN(auto now, client_.Resolve(reference_, {}, stop));
      return now.digest == Digest::Of(text);
    };
    auto holds = [&]() -> Result<bool> {
      TRY_ASSIGN(auto groups, List(stop));
      return std::ranges::any_of(groups, [&](const GroupEntry& group) {
        return group.manifest.digest == added.manifest.digest;
      });
    };
    return MergeAndReadBack({reference_.Familiar(), merge, is, holds}, sleeper_, stop);
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
