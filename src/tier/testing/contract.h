// The contract of tiers as a parameterised suite: tier_test.cc holds the tests, and each kind of place
// instantiates them beside the tests of its own faults.
#pragma once

#include <gmock/gmock.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sys/tempdir.h"
#include "tier/directory_storage.h"
#include "tier/group.h"
#include "tier/packed_tier.h"
#include "tier/tier.h"
#include "tier/wire.h"
#include "tree/tree.h"

namespace varve::tier::testing {

inline StepKey Key(const std::string& name) { return StepKey(Digest::Of("key " + name)); }
inline DiffId LayerOf(const std::string& name) { return DiffId(Digest::Of("layer " + name)); }
// Does not compress, so that chunks of it take what it takes.
inline std::string BlobOf(const DiffId& layer) {
  std::string text = "bytes of " + layer.ToString();
  std::mt19937 random(static_cast<unsigned>(layer.value.bytes()[0] << 8 | layer.value.bytes()[1]));
  while (text.size() < 5000) text += static_cast<char>(random());
  return text;
}

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
    blob.descriptor = {
        .media_type = std::string(oci::kOciLayerZstd), .digest = Digest::Of(bytes), .size = bytes.size()};
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
  offer.write_tar = [made](const DiffId& layer, Writer& out, std::stop_token) -> Status {
    if (made != nullptr) ++*made;
    return out.Write(BlobOf(layer));
  };
  return offer;
}

// A place that machines share. Open() is a machine that comes to it anew.
class Place {
 public:
  virtual ~Place() = default;
  virtual std::unique_ptr<Tier> Open(PackedOptions options = {}) {
    return MakePackedTier(Storage(), std::move(options), clock_);
  }
  virtual std::unique_ptr<BlobStorage> Storage() = 0;
  virtual void MergeInRealTime() {}  // waits of merges are what keeps exporters apart
  virtual uint64_t RequestsOfTheList() { return 1; }
  virtual uint64_t RequestsOfABlob() { return 1; }
  // Of those who open the place, and of nobody else.
  FakeClock& clock() { return clock_; }
  virtual bool Overwrites() { return true; }  // what was damaged; else Damage is for good
  virtual void Remove(const Digest& blob) = 0;
  virtual void Damage(const Digest& blob, size_t keep) = 0;

 protected:
  FakeClock clock_;
};

using MakePlace = std::unique_ptr<Place> (*)();

template <class AnyPlace>
std::unique_ptr<Place> New() {
  return std::make_unique<AnyPlace>();
}

struct Setting {
  Setting(MakePlace make_place, bool as_chunks = false) : make(make_place), chunked(as_chunks) {}  // NOLINT
  MakePlace make;
  bool chunked;  // format=chunked
};

class TierContract : public ::testing::TestWithParam<Setting> {
 protected:
  Offer OfferOf(const std::vector<std::string>& names, std::atomic<int>* made = nullptr) {
    Offer offer = testing::OfferOf(names, made);
    offer.chunked = GetParam().chunked;
    return offer;
  }
  // What an export of the named step alone stores, read from a directory: the same bytes everywhere.
  StoredLayer StoredOf(const std::string& name) {
    sys::TempDir directory = *sys::TempDir::Create(::testing::TempDir(), "stored-");
    FakeClock clock;
    auto tier = MakePackedTier(MakeDirectoryStorage({.path = directory.path()}), {}, clock);
    EXPECT_TRUE(tier->Export(OfferOf({name}), nullptr, {}));
    auto storage = MakeDirectoryStorage({.path = directory.path()});
    auto entries = storage->List({});
    StringWriter records;
    EXPECT_TRUE(storage->Get(entries->at(0).records, records, {}));
    auto group = DecodeGroup(records.text);
    EXPECT_EQ(group->layers.at(0).chunked(), GetParam().chunked);
    return group->layers.at(0);
  }
  // Puts `group` in place of all that is there, as somebody would who can write there.
  void Forge(const Group& group) {
    auto storage = place_->Storage();
    std::vector<Digest> old;
    auto listed = storage->List({});
    ASSERT_TRUE(listed);
    for (const GroupEntry& entry : *listed) old.push_back(entry.manifest.digest);
    Status put = Wire(*storage).PutGroup(group, old, {});
    ASSERT_TRUE(put) << put.error().message;
  }
  // The one group that is there.
  Group Stored() {
    auto storage = place_->Storage();
    auto entries = storage->List({});
    StringWriter records;
    EXPECT_TRUE(entries && entries->size() == 1);
    EXPECT_TRUE(storage->Get(entries->at(0).records, records, {}));
    return *DecodeGroup(records.text);
  }
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

  std::unique_ptr<Place> place_ = GetParam().make();
  tree::MemoryTreeStore trees_;
};

}  // namespace varve::tier::testing
