#include "tier/gha_storage.h"

#include <map>

#include "base/guarded.h"
#include "oci/manifest.h"
#include "tier/group.h"

namespace varve::tier {

namespace {

constexpr std::string_view kGroup = "group/", kBlob = "blob/";

std::string GroupKey(const Digest& manifest) { return std::string(kGroup) + manifest.ToString(); }
std::string BlobKey(const Digest& blob) { return std::string(kBlob) + blob.ToString(); }

gha::Client::Options ClientOptions(const GhaOptions& options) {
  gha::Client::Options client{.deadline = options.retry_budget};
  // As the official client cuts them.
  if (options.address.protocol == gha::Protocol::kV2) client.upload_part = 64 << 20;
  return client;
}

class GhaStorage final : public BlobStorage {
 public:
  GhaStorage(net::HttpClient& http, GhaOptions options, Clock& clock, net::Sleeper& sleeper)
      : client_(http, options.address, clock, sleeper, ClientOptions(options)),
        packs_(client_, options.packs, sleeper) {}

  Result<std::vector<GroupEntry>> List(std::stop_token stop) override {
    TRY(packs_.Reload(stop));
    TRY_ASSIGN(auto listed, packs_.List(std::string(kGroup), stop));
    std::vector<GroupEntry> groups;
    for (const gha::Packs::Stat& group : listed) {
      auto manifest = Digest::Parse(std::string_view(group.key).substr(kGroup.size()));
      if (!manifest) continue;  // of a later version
      groups.push_back(
          {.manifest = {.media_type = std::string(oci::kOciManifest), .digest = *manifest},
           .records = {.media_type = std::string(kRecordsMediaType), .digest = group.digest, .size = group.size}});
    }
    return groups;
  }

  Status Replace(const GroupEntry& added, const std::string& manifest_text, const std::vector<Digest>& old,
                 std::stop_token stop) override {
    TRY_ASSIGN(oci::Manifest manifest, oci::ParseManifest(manifest_text));
    std::vector<oci::Descriptor> blobs = manifest.layers;
    blobs.push_back(added.records);
    std::vector<gha::Packs::Value> values;
    gha::Packs::Value group{
        .key = GroupKey(added.manifest.digest), .digest = added.records.digest, .size = added.records.size};
    {
      auto staged = staged_.Lock();
      for (const oci::Descriptor& blob : blobs) {
        gha::Packs::Value value{.key = BlobKey(blob.digest), .digest = blob.digest, .size = blob.size};
        auto it = staged->find(blob.digest);
        if (it != staged->end()) {
          value.open = [open = it->second](uint64_t offset, uint64_t) { return open(offset); };
        }
        group.needs.push_back(value.key);
        if (blob.digest == added.records.digest) group.open = value.open;
        values.push_back(std::move(value));
      }
    }
    values.push_back(std::move(group));
    std::vector<std::string> removed;
    for (const Digest& group_manifest : old) removed.push_back(GroupKey(group_manifest));
    TRY(packs_.Change(values, removed, stop));
    staged_.Lock()->clear();
    return Ok();
  }

  Result<bool> Has(const oci::Descriptor& blob, std::stop_token stop) override {
    return packs_.Holds(BlobKey(blob.digest), stop);
  }

  Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override {
    TRY_ASSIGN(bool found, packs_.Read(BlobKey(blob.digest), out, stop));
    if (!found) return NotFound("blob {} is no longer in the cache", blob.digest.ToString());
    return Ok();
  }

  Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there, std::stop_token stop) override {
    // What was read and is damaged is forgotten (gha/packs.h), and so not held.
    TRY_ASSIGN(bool there, Has(blob, stop));
    there = there && if_there == IfThere::kKeep;
    if (!there) staged_.Lock()->insert_or_assign(blob.digest, open);
    return !there;
  }

  bool KeepsUntilReplace() const override { return true; }

  uint64_t kept_ahead() override { return packs_.kept_bytes(); }

  Result<bool> PutAhead(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there,
                        std::stop_token stop) override {
    TRY_ASSIGN(bool there, Has(blob, stop));
    if (there && if_there == IfThere::kKeep) return false;
    return packs_.UploadAhead({.key = BlobKey(blob.digest),
                               .digest = blob.digest,
                               .size = blob.size,
                               .open = [open](uint64_t offset, uint64_t) { return open(offset); }},
                              std::move(stop));
  }

  std::optional<uint64_t> requests() override { return client_.requests(); }

 private:
  gha::Client client_;
  gha::Packs packs_;
  Guarded<std::map<Digest, OpenAt>> staged_;  // goes with the next Replace
};

}  // namespace

std::unique_ptr<BlobStorage> MakeGhaStorage(net::HttpClient& http, GhaOptions options, Clock& clock,
                                            net::Sleeper& sleeper) {
  return std::make_unique<GhaStorage>(http, std::move(options), clock, sleeper);
}

}  // namespace varve::tier
