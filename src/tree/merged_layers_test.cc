#include "tree/merged_layers.h"

#include <gmock/gmock.h>

#include "tree/test_tree.h"

namespace varve::tree {
namespace {

struct MergedLayersTest : testing::Test {
  Digest Merge(const std::map<std::string, Node>& lower, const std::map<std::string, Node>& upper) {
    return MergeOn(BuildTree(trees_, lower), upper);
  }
  Digest MergeOn(const Digest& lower, const std::map<std::string, Node>& upper) {
    auto merged = MergeLayers(trees_, lower, BuildTree(trees_, upper));
    EXPECT_TRUE(merged) << merged.error().ToString();
    return merged.value_or(Digest());
  }
  Node At(const Digest& root, const std::string& path) {
    auto node = Lookup(trees_, root, RelPath(path));
    EXPECT_TRUE(node && *node) << path;
    return node && *node ? **node : Node();
  }

  MemoryTreeStore trees_;
};

TEST_F(MergedLayersTest, DirectoriesHoldWhatIsInBothAndLookAsTheUpperOneDoes) {
  Digest merged = Merge({{"d", Dir()}, {"d/a", File("1")}, {"d/b", File("1")}, {"low", File("1")}},
                        {{"d", Dir(0700)}, {"d/b", File("2")}, {"d/c", File("2")}, {"up", File("2")}});
  EXPECT_EQ(merged, BuildTree(trees_, {{"d", Dir(0700)},
                                       {"d/a", File("1")},
                                       {"d/b", File("2")},
                                       {"d/c", File("2")},
                                       {"low", File("1")},
                                       {"up", File("2")}}));
}

TEST_F(MergedLayersTest, WhatIsNoDirectoryHidesAllThatIsBelowIt) {
  EXPECT_EQ(Merge({{"d", Dir()}, {"d/a", File("1")}}, {{"d", Link("x")}}), BuildTree(trees_, {{"d", Link("x")}}));
}

// Overlayfs stops at the file, so that a directory d of a layer below these two is not merged.
TEST_F(MergedLayersTest, ADirectoryOverAFileHidesWhatLiesBelowBoth) {
  Digest merged = Merge({{"d", File("1")}}, {{"d", Dir()}, {"d/a", File("2")}});
  EXPECT_TRUE(HidesBelow(At(merged, "d")));
  EXPECT_FALSE(HidesBelow(At(merged, "d/a")));
  EXPECT_NE(merged, Merge({}, {{"d", Dir()}, {"d/a", File("2")}}));
  // And with one more on top of it; but not where that is no directory.
  Digest more = MergeOn(merged, {{"d", Dir(0700)}, {"d/b", File("3")}});
  EXPECT_TRUE(HidesBelow(At(more, "d")));
  EXPECT_EQ(At(more, "d").mode, 0700u);
  EXPECT_EQ(At(more, "d/a"), At(merged, "d/a"));
  EXPECT_FALSE(HidesBelow(At(MergeOn(more, {{"d", File("4")}}), "d")));
}

TEST_F(MergedLayersTest, ADirectoryOverAFileHidesNothingWhereNothingIsBelow) {
  Digest lower = BuildTree(trees_, {{"d", File("1")}}), upper = BuildTree(trees_, {{"d", Dir()}});
  auto hides = [&](const std::map<std::string, Node>& below) {
    return HidesBelow(At(*MergeLayers(trees_, lower, upper, BuildTree(trees_, below)), "d"));
  };
  EXPECT_FALSE(hides({{"e", Dir()}}));
  EXPECT_FALSE(hides({{"d", File("0")}}));
  EXPECT_TRUE(hides({{"d", Dir()}}));
}

TEST_F(MergedLayersTest, OfEqualLayersAreThatLayer) {
  std::map<std::string, Node> files = {{"d", Dir()}, {"d/a", File("1")}};
  EXPECT_EQ(Merge(files, files), BuildTree(trees_, files));
  EXPECT_EQ(Merge(files, {}), BuildTree(trees_, files));
}

}  // namespace
}  // namespace varve::tree
