// Exports that may not send everything, and exports that replace.
#include <gmock/gmock.h>

#include "sys/tempdir.h"
#include "tier/directory_storage.h"
#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using namespace testing;

const uint64_t kBlobSize = BlobOf(LayerOf("a")).size();

// Blobs of layers do not arrive: their Put ends when it is told to.
class StuckStorage final : public BlobStorage {
 public:
  explicit StuckStorage(std::unique_ptr<BlobStorage> storage) : storage_(std::move(storage)) {}
  Result<std::vector<GroupEntry>> List(std::stop_token stop) override { return storage_->List(stop); }
  Status Replace(const GroupEntry& added, const std::string& manifest, const std::vector<Digest>& old,
                 std::stop_token stop) override {
    return storage_->Replace(added, manifest, old, stop);
  }
  Result<bool> Has(const oci::Descriptor& blob, std::stop_token stop) override { return storage_->Has(blob, stop); }
  Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override {
    return storage_->Get(blob, out, stop);
  }
  Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there, std::stop_token stop) override {
    if (!oci::IsLayer(blob.media_type)) return storage_->Put(blob, open, if_there, stop);
    while (!stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Cancelled("stopped");
  }

 private:
  const std::unique_ptr<BlobStorage> storage_;
};

class ExportLimits : public ::testing::Test {
 protected:
  std::unique_ptr<BlobStorage> Storage() { return MakeDirectoryStorage({.path = directory_.path() + "/cache"}); }
  std::unique_ptr<Tier> Open() { return MakePackedTier(Storage(), {}, clock_); }
  // "a" with its layer, "(a)" a record without it, "-" nothing.
  std::string There(const std::vector<std::string>& names) {
    auto tier = Open();
    std::string there;
    for (const std::string& name : names) {
      auto record = tier->GetMany({Key(name)}, trees_, {});
      if (!record || !(*record)[0]) there += "-";
      else if (*tier->FindLayer((*record)[0]->outputs[0].layers.back(), {})) there += name;
      else there += "(" + name + ")";
    }
    return there;
  }
  // Each name takes as many seconds to make.
  Offer Timed(const std::vector<std::pair<std::string, double>>& steps) {
    std::vector<std::string> names;
    for (const auto& [name, seconds] : steps) names.push_back(name);
    Offer offer = OfferOf(names);
    for (size_t i = 0; i < steps.size(); ++i) {
      offer.records[i].record.wall = Nanos(static_cast<int64_t>(steps[i].second * 1e9));
      offer.records[i].record.new_bytes = 1000;
    }
    return offer;
  }

  sys::TempDir directory_ = *sys::TempDir::Create(::testing::TempDir(), "limits-");
  FakeClock clock_;
  tree::MemoryTreeStore trees_;
};

TEST_F(ExportLimits, BytesGoToWhatIsWorthMost) {
  Offer offer = Timed({{"a", 1}, {"b", 600}, {"c", 60}, {"d", 2}});
  offer.max_bytes = 2 * kBlobSize + 10;
  auto tier = Open();
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  EXPECT_EQ(There({"a", "b", "c", "d"}), "(a)bc(d)");
  EXPECT_EQ(tier->traffic().left_out, 2u);
  // The next export goes on, and what is there costs nothing.
  ASSERT_TRUE(Open()->Export(offer, nullptr, {}));
  EXPECT_EQ(There({"a", "b", "c", "d"}), "abcd");
}

TEST_F(ExportLimits, NothingGoesOnTopOfWhatStayedBehind) {
  // The layer of b stands on that of a, which does not fit; c does.
  Offer offer = Timed({{"a", 1}, {"b", 600}, {"c", 1}});
  offer.records[1].record.outputs[0].layers = {LayerOf("a"), LayerOf("b")};
  offer.max_bytes = kBlobSize + 10;
  auto make = offer.make_blob;
  offer.make_blob = [make](const DiffId& layer, std::stop_token stop) {
    auto blob = make(layer, stop);
    if (blob && layer == LayerOf("a")) blob->descriptor.size *= 3;
    return blob;
  };
  ASSERT_TRUE(Open()->Export(offer, nullptr, {}));
  EXPECT_EQ(There({"a", "b", "c"}), "(a)(b)c");
}

TEST_F(ExportLimits, WhatIsPackedTooLateStaysBehind) {
  Offer offer = Timed({{"a", 5}, {"b", 60}});
  offer.max_time = std::chrono::seconds(30);
  auto make = offer.make_blob;
  offer.make_blob = [this, make](const DiffId& layer, std::stop_token stop) {
    clock_.Advance(std::chrono::seconds(40));
    return make(layer, stop);
  };
  auto tier = Open();
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  EXPECT_EQ(There({"a", "b"}), "(a)(b)");
  EXPECT_EQ(tier->traffic().left_out, 2u);
}

TEST_F(ExportLimits, WhatIsOnItsWayWhenTheTimeIsOverIsCutOffAndTheRecordsGo) {
  Offer offer = Timed({{"a", 5}});
  offer.max_time = std::chrono::milliseconds(20);
  auto tier = MakePackedTier(std::make_unique<StuckStorage>(Storage()), {}, clock_);
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  EXPECT_EQ(There({"a"}), "(a)");
}

TEST_F(ExportLimits, ACancelledBuildIsNoTimeLimit) {
  Offer offer = Timed({{"a", 5}});
  offer.max_time = std::chrono::hours(1);
  std::stop_source stop;
  auto tier = MakePackedTier(std::make_unique<StuckStorage>(Storage()), {}, clock_);
  stop.request_stop();
  EXPECT_FALSE(tier->Export(offer, nullptr, stop.get_token()));
}

TEST_F(ExportLimits, AutoLeavesOutWhatIsSoonMadeAgain) {
  // A request takes longer than a hundredth of a second (export_choice.h).
  Offer offer = Timed({{"a", 0.01}, {"b", 60}});
  offer.only_worth_moving = true;
  auto tier = Open();
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  EXPECT_EQ(There({"a", "b"}), "(a)b");
  EXPECT_EQ(tier->traffic().left_out, 1u);
}

TEST_F(ExportLimits, AFailureUnderALimitIsAnError) {
  Offer offer = Timed({{"a", 1}, {"b", 2}, {"c", 3}});
  offer.max_bytes = 1 << 20;
  offer.make_blob = [](const DiffId& layer, std::stop_token) -> Result<Offer::Blob> {
    if (layer == LayerOf("b")) return Resource("the disk is full");
    return NotFound("not here");
  };
  Status exported = Open()->Export(offer, nullptr, {});
  ASSERT_FALSE(exported);
  EXPECT_EQ(exported.error().message, "the disk is full");
}

TEST_F(ExportLimits, AReplacingExportTakesAwayWhatItReplaces) {
  ASSERT_TRUE(Open()->Export(OfferOf({"a", "b"}), nullptr, {}));
  Offer again = OfferOf({"a"});
  again.records[0].record.outputs[0].layers = {LayerOf("new a")};
  again.layers = {LayerOf("new a")};
  again.replace = true;
  ASSERT_TRUE(Open()->Export(again, nullptr, {}));
  auto tier = Open();
  auto records = tier->GetMany({Key("a"), Key("b")}, trees_, {});
  ASSERT_TRUE(records && (*records)[0] && (*records)[1]) << "b is none of its business";
  EXPECT_EQ((*records)[0]->outputs[0].layers[0], LayerOf("new a"));
  EXPECT_FALSE(*tier->FindLayer(LayerOf("a"), {})) << "nobody needs it";
  EXPECT_TRUE(*tier->FindLayer(LayerOf("b"), {}));
  EXPECT_EQ(Storage()->List({})->size(), 1u);
}

}  // namespace
}  // namespace varve::tier
