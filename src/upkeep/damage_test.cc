#include "upkeep/damage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cache/lease.h"
#include "upkeep/test_root.h"

namespace varve::upkeep {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class DamageTest : public testing::Test {
 protected:
  std::string FilesOf(const DiffId& layer) { return root.layers->Directory(layer).value(); }
  std::vector<std::string> Drop(cache::JobLease& lease) {
    auto dropped = DropDamaged(root.stores(), lease, {});
    EXPECT_TRUE(dropped) << dropped.error().ToString();
    return dropped.value_or(std::vector<std::string>());
  }

  TestRoot root;
};

TEST_F(DamageTest, WhatABuildUsesAndIsDamagedGoesAndItsRecordsSayWhy) {
  DiffId sound = root.Layer("sound"), flipped = root.Layer("flipped"), bare = root.Layer("bare");
  auto record = root.Record("a", {sound, flipped});
  auto other = root.Record("b", {sound});
  ASSERT_TRUE(WriteFileAtomically(FilesOf(flipped) + "/file", "flopped"));
  std::filesystem::remove_all(FilesOf(bare));
  auto lease = cache::JobLease::Begin(root.root, root.clock).value();
  ASSERT_TRUE(lease->Add({sound, flipped, bare}));
  EXPECT_EQ(Drop(*lease).size(), 2u);
  EXPECT_TRUE(root.Has(sound));
  EXPECT_FALSE(root.Has(flipped));
  EXPECT_FALSE(root.Has(bare));
  auto why = root.local->contents().WhyDropped(record.key).value();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->rule, "its layer was damaged");
  EXPECT_FALSE(root.local->contents().WhyDropped(other.key).value());
  EXPECT_THAT(Drop(*lease), IsEmpty());
}

TEST_F(DamageTest, WhatAnotherBuildUsesStaysUntilItIsDone) {
  DiffId layer = root.Layer("flipped");
  ASSERT_TRUE(WriteFileAtomically(FilesOf(layer) + "/file", "flopped"));
  auto lease = cache::JobLease::Begin(root.root, root.clock).value();
  auto other = cache::JobLease::Begin(root.root, root.clock).value();
  ASSERT_TRUE(lease->Add(layer));
  ASSERT_TRUE(other->Add(layer));
  EXPECT_THAT(Drop(*lease), IsEmpty());
  EXPECT_TRUE(root.Has(layer));
  other.reset();
  EXPECT_THAT(Drop(*lease), ElementsAre("layer " + layer.ToString()));
}

}  // namespace
}  // namespace varve::upkeep
