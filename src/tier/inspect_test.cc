#include "tier/inspect.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "oci/layout.h"
#include "sys/tempdir.h"
#include "tier/directory_storage.h"
#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using ::testing::HasSubstr;
using namespace testing;

constexpr int64_t kDay = 86'400;

class InspectTest : public ::testing::Test {
 protected:
  std::string PathOf(const std::string& name) { return directory_.path() + "/" + name; }
  std::unique_ptr<BlobStorage> Storage(const std::string& name) { return MakeDirectoryStorage({.path = PathOf(name)}); }
  void Export(const std::string& place, const Offer& offer) {
    ASSERT_TRUE(MakePackedTier(Storage(place), {}, clock_)->Export(offer, nullptr, {}));
  }
  std::string BlobPath(const std::string& place, const std::string& step) {
    return PathOf(place) + "/" + oci::LayoutBlobPath(Digest::Of(BlobOf(LayerOf(step))));
  }
  std::string Steps(const Group& group) {
    std::set<std::string> names;
    for (const auto& record : group.records) names.insert(record.name);
    std::string text;
    for (const std::string& name : names) text += name.substr(4);
    return text;
  }
  std::string There(const std::string& place) {
    auto stored = ReadGroups(*Storage(place), {});
    return stored ? Steps(stored->Merged()) : stored.error().message;
  }

  sys::TempDir directory_ = *sys::TempDir::Create(::testing::TempDir(), "inspect-");
  FakeClock clock_;
  tree::MemoryTreeStore trees_;
};

TEST_F(InspectTest, WhatIsNotThereIsEmpty) {
  auto stored = ReadGroups(*Storage("nowhere"), {});
  ASSERT_TRUE(stored);
  EXPECT_TRUE(stored->groups.empty() && stored->damaged.empty());
}

TEST_F(InspectTest, GroupsAreReadAndADamagedOneIsNamed) {
  Export("cache", OfferOf({"a"}));
  Export("cache", OfferOf({"b"}));
  auto stored = ReadGroups(*Storage("cache"), {});
  ASSERT_TRUE(stored && stored->groups.size() == 2);
  EXPECT_EQ(Steps(stored->Merged()), "ab");
  std::string records = PathOf("cache") + "/" + oci::LayoutBlobPath(stored->entries[0].records.digest);
  std::filesystem::permissions(records, std::filesystem::perms::owner_all);
  std::fstream(records, std::ios::in | std::ios::out | std::ios::binary).put('#');
  auto again = ReadGroups(*Storage("cache"), {});
  ASSERT_TRUE(again);
  EXPECT_EQ(again->groups.size(), 1u);
  ASSERT_EQ(again->damaged.size(), 1u);
  EXPECT_THAT(again->damaged[0].why, HasSubstr("it has the digest"));
  EXPECT_EQ(again->Manifests().size(), 2u);
}

TEST_F(InspectTest, EveryBlobIsCheckedByItsDigest) {
  Export("cache", OfferOf({"a", "b", "c", "d"}));
  auto stored = ReadGroups(*Storage("cache"), {});
  ASSERT_TRUE(stored);
  auto sound = CheckBlobs(*Storage("cache"), stored->Merged(), nullptr, {});
  ASSERT_TRUE(sound);
  EXPECT_TRUE(sound->empty());
  for (const char* step : {"b", "c"}) {
    std::filesystem::permissions(BlobPath("cache", step), std::filesystem::perms::owner_all);
  }
  std::fstream(BlobPath("cache", "b"), std::ios::in | std::ios::out | std::ios::binary).put('#');
  std::filesystem::resize_file(BlobPath("cache", "c"), 10);
  std::filesystem::remove(BlobPath("cache", "d"));
  auto damage = CheckBlobs(*Storage("cache"), stored->Merged(), nullptr, {});
  ASSERT_TRUE(damage);
  std::map<std::string, std::string> why;
  for (const BlobDamage& one : *damage) {
    ASSERT_EQ(one.needed.size(), 1u);
    why[*one.needed.begin()] = one.why;
  }
  ASSERT_EQ(why.size(), 3u);
  EXPECT_THAT(why["RUN b"], HasSubstr("it has the digest sha256:"));
  EXPECT_THAT(why["RUN c"], HasSubstr("it has 10 of"));
  EXPECT_EQ(why["RUN d"], "it is gone");
}

TEST_F(InspectTest, ACopyHasEverythingAndItsSignatures) {
  SigningKey key = *SigningKey::Generate();
  PackedOptions options;
  options.sign = std::make_shared<SigningKey>(key);
  ASSERT_TRUE(MakePackedTier(Storage("from"), options, clock_)->Export(OfferOf({"a", "b"}), nullptr, {}));
  Export("to", OfferOf({"b", "c"}));
  auto copied = CopyGroups(*Storage("from"), *Storage("to"), directory_.path(), nullptr, {});
  ASSERT_TRUE(copied);
  EXPECT_EQ(copied->records, 2u);
  EXPECT_EQ(copied->blobs, 1u) << "the layer of b was there";
  EXPECT_EQ(copied->there, 1u);
  EXPECT_EQ(There("to"), "abc");
  PackedOptions own;
  own.verify = std::make_shared<VerifyKeys>(key.verify_keys());
  auto tier = MakePackedTier(Storage("to"), own, clock_);
  auto records = tier->GetMany({Key("a"), Key("b"), Key("c")}, trees_, {});
  ASSERT_TRUE(records);
  EXPECT_TRUE((*records)[0] && (*records)[1] && !(*records)[2]);
  StringWriter out;
  ASSERT_TRUE(tier->Fetch(**tier->FindLayer(LayerOf("a"), {}), out, {}));
  EXPECT_EQ(out.text, BlobOf(LayerOf("a")));
  // Once more changes nothing.
  auto again = CopyGroups(*Storage("from"), *Storage("to"), directory_.path(), nullptr, {});
  ASSERT_TRUE(again);
  EXPECT_EQ(again->blobs, 0u);
  EXPECT_EQ(Storage("to")->List({})->size(), 2u);
}

TEST_F(InspectTest, ACopyLeavesOutWhatIsDamagedAndSaysSo) {
  Export("from", OfferOf({"a", "b"}));
  std::filesystem::remove(BlobPath("from", "a"));
  auto copied = CopyGroups(*Storage("from"), *Storage("to"), directory_.path(), nullptr, {});
  ASSERT_TRUE(copied);
  ASSERT_EQ(copied->left_out.size(), 1u);
  EXPECT_EQ(*copied->left_out[0].needed.begin(), "RUN a");
  EXPECT_EQ(There("to"), "ab");
  auto tier = MakePackedTier(Storage("to"), {}, clock_);
  EXPECT_FALSE(*tier->FindLayer(LayerOf("a"), {}));
  EXPECT_TRUE(*tier->FindLayer(LayerOf("b"), {}));
}

TEST_F(InspectTest, ChunkedLayersAndMountsAreCheckedCopiedAndPruned) {
  Offer offer = OfferOf({"a", "b"});
  offer.chunked = true;
  offer.mounts = {{.key = "/root/.npm",
                   .id = "npm",
                   .created = Timestamp{kDay * 1'000'000'000},
                   .write = [](Writer& out, std::stop_token) { return out.Write(std::string(90'000, 'm')); }}};
  Export("from", offer);
  Group group = ReadGroups(*Storage("from"), {})->Merged();
  ASSERT_EQ(group.mounts.size(), 1u);
  auto copied = CopyGroups(*Storage("from"), *Storage("to"), directory_.path(), nullptr, {});
  ASSERT_TRUE(copied && copied->left_out.empty());
  EXPECT_EQ(copied->blobs, BlobsOf(group).size());
  auto tier = MakePackedTier(Storage("to"), {.local = {.scratch = directory_.path()}}, clock_);
  StringWriter layer, mount;
  ASSERT_TRUE(tier->Fetch(**tier->FindLayer(LayerOf("a"), {}), layer, {}));
  EXPECT_EQ(layer.text, BlobOf(LayerOf("a")));
  ASSERT_TRUE(tier->Fetch(**tier->FindMount("/root/.npm", {}), mount, {}));
  EXPECT_EQ(mount.text, std::string(90'000, 'm'));
  // The pack is that of both layers and of the mount.
  const oci::Descriptor pack = group.layers[0].packs.at(0);
  std::string path = PathOf("from") + "/" + oci::LayoutBlobPath(pack.digest);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).put('#');
  auto damage = CheckBlobs(*Storage("from"), group, nullptr, {});
  ASSERT_TRUE(damage && damage->size() == 1);
  EXPECT_EQ(damage->at(0).blob.digest, pack.digest);
  EXPECT_THAT(damage->at(0).needed, ::testing::ElementsAre("RUN a", "RUN b", "cache mount /root/.npm"));
  auto rest = CopyGroups(*Storage("from"), *Storage("rest"), directory_.path(), nullptr, {});
  ASSERT_TRUE(rest);
  Group left = ReadGroups(*Storage("rest"), {})->Merged();
  EXPECT_EQ(left.records.size(), 2u) << "keys can be computed from them";
  EXPECT_TRUE(left.layers.empty() && left.mounts.empty());
  PruneGroup(group, {.older_than = Timestamp{2 * kDay * 1'000'000'000}}, Timestamp{3 * kDay * 1'000'000'000});
  EXPECT_TRUE(group.records.empty() && group.layers.empty() && group.mounts.empty());
}

TEST_F(InspectTest, PruningDropsTheOldAndWhatIsWorthLeast) {
  Offer offer = OfferOf({"a", "b", "c"});
  for (int i = 0; i < 3; ++i) {
    offer.records[static_cast<size_t>(i)].record.created = Timestamp{(i + 1) * kDay * 1'000'000'000};
  }
  offer.records[1].record.wall = Nanos(1);
  Export("cache", offer);
  Group group = ReadGroups(*Storage("cache"), {})->Merged();
  Timestamp now{4 * kDay * 1'000'000'000};
  PruneGroup(group, {.older_than = Timestamp{2 * kDay * 1'000'000'000}}, now);
  EXPECT_EQ(Steps(group), "bc");
  EXPECT_EQ(group.layers.size(), 2u);
  PruneGroup(group, {.max_size = BlobOf(LayerOf("a")).size()}, now);
  EXPECT_EQ(Steps(group), "c");
  // What was pruned is written in place of everything.
  auto storage = Storage("cache");
  auto stored = ReadGroups(*storage, {});
  ASSERT_TRUE(Wire(*storage).PutGroup(group, stored->Manifests(), {}));
  EXPECT_EQ(There("cache"), "c");
  EXPECT_EQ(storage->List({})->size(), 1u);
}

}  // namespace
}  // namespace varve::tier
