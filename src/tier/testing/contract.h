// The contract of tiers as a parameterised suite: tier_test.cc holds the tests, and each kind of place
// instantiates them beside the tests of its own faults.
#pragma once

#include <gmock/gmock.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tier/group.h"
#include "tier/packed_tier.h"
#include "tier/tier.h"
#include "tree/tree.h"

namespace varve::tier::testing {

inline StepKey Key(const std::string& name) { return StepKey(Digest::Of("key " + name)); }
inline DiffId LayerOf(const std::string& name) { return DiffId(Digest::Of("layer " + name)); }
inline std::string BlobOf(const DiffId& layer) { return "bytes of " + layer.ToString() + std::string(5000, '.'); }

inline cache::StepRecord RecordOf(const std::string& name, int64_t created = 1) {
  cache::StepRecord record;
  record.outputs = {{{LayerOf(name)}, tree::EmptyTree()}};
  record.preimage = "key " + name;
  record.key = StepKey(Digest::Of(record.preimage));
  record.name = "RUN " + name;
  record.created = Timestamp{created * 1'000'000'000};
  record.wall = Nanos(2'000'000'000);
  record.log = "what " + name + " printed";
  record.slot = name;
  return record;
}

// What a build that ran the named steps has to give.
inline Offer OfferOf(const std::vector<std::string>& names, std::atomic<int>* made = nullptr) {
  Offer offer;
  for (const std::string& name : names) {
    offer.records.push_back({RecordOf(name), false});
    offer.layers.insert(LayerOf(name));
  }
  offer.result_layers = offer.layers;
  offer.make_blob = [made](const DiffId& layer, std::stop_token) -> Result<Offer::Blob> {
    if (made != nullptr) ++*made;
    std::string bytes = BlobOf(layer);
    Offer::Blob blob;
    blob.descriptor = {.media_type = std::string(oci::kOciLayerZstd), .digest = Digest::Of(bytes),
                       .size = bytes.size()};
    blob.open = [bytes](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
      class Owned final : public Reader {
       public:
        explicit Owned(std::string text) : text_(std::move(text)), in_(text_) {}
        Result<size_t> Read(std::span<char> buffer) override { return in_.Read(buffer); }

       private:
        std::string text_;
        StringReader in_;
      };
      return std::make_unique<Owned>(bytes.substr(offset));
    };
    return blob;
  };
  return offer;
}

// A place that machines share. Open() is a machine that comes to it anew.
class Place {
 public:
  virtual ~Place() = default;
  virtual std::unique_ptr<Tier> Open(PackedOptions options = {}) = 0;
  virtual void MergeInRealTime() {}  // waits of merges are what keeps exporters apart
  virtual uint64_t RequestsOfTheList() { return 1; }
  virtual uint64_t RequestsOfABlob() { return 1; }
  virtual void Remove(const Digest& blob) = 0;
  virtual void Damage(const Digest& blob, size_t keep) = 0;
};

using MakePlace = std::unique_ptr<Place> (*)();

template <class AnyPlace>
std::unique_ptr<Place> New() {
  return std::make_unique<AnyPlace>();
}

class TierContract : public ::testing::TestWithParam<MakePlace> {
 protected:
  // Which of the named steps a fresh machine finds.
  std::string Found(const std::vector<std::string>& names, PackedOptions options = {}) {
    auto tier = place_->Open(options);
    std::vector<StepKey> keys;
    for (const std::string& name : names) keys.push_back(Key(name));
    auto records = tier->GetMany(keys, trees_, {});
    if (!records) return "error: " + records.error().message;
    std::string found;
    for (size_t i = 0; i < names.size(); ++i) {
      if ((*records)[i]) found += (found.empty() ? "" : " ") + names[i];
    }
    return found;
  }
  Status Export(const Offer& offer, PackedOptions options = {}) {
    return place_->Open(options)->Export(offer, nullptr, {});
  }
  oci::Descriptor BlobIn(Tier& tier, const std::string& name) {
    auto blob = tier.FindLayer(LayerOf(name), {});
    EXPECT_TRUE(blob && *blob) << name;
    return blob && *blob ? **blob : oci::Descriptor();
  }

  std::unique_ptr<Place> place_ = GetParam()();
  tree::MemoryTreeStore trees_;
};

}  // namespace varve::tier::testing
