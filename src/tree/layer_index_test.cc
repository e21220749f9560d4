#include "tree/layer_index.h"

#include <gtest/gtest.h>

#include <random>

#include "tree/layer_tree.h"
#include "tree/test_tree.h"

namespace varve::tree {
namespace {

LayerEntry Entry(std::string_view path, Node node) {
  LayerEntry entry;
  entry.path = RelPath(path);
  entry.node = std::move(node);
  return entry;
}
LayerEntry Whiteout(std::string_view path) {
  LayerEntry entry;
  entry.path = RelPath(path);
  entry.whiteout = true;
  return entry;
}
LayerEntry Opaque(std::string_view path, Node node = Dir()) {
  LayerEntry entry = Entry(path, std::move(node));
  entry.opaque = true;
  return entry;
}
LayerEntry Implicit(std::string_view path) {
  LayerEntry entry = Entry(path, Dir());
  entry.implicit = true;
  return entry;
}

Digest Apply(TreeStore& store, const Digest& parent, const LayerIndex& index) {
  auto root = ApplyLayer(store, parent, index);
  EXPECT_TRUE(root) << root.error().ToString();
  return root.value_or(Digest());
}

TEST(LayerIndex, SurvivesItsEncoding) {
  LayerIndex index = {Implicit("usr"), Entry("usr/x", File("x", 04755)), Whiteout("usr/y"), Opaque("opt", Dir(0700)),
                      Entry("l", Link("usr/x"))};
  auto decoded = DecodeLayerIndex(EncodeLayerIndex(index));
  ASSERT_TRUE(decoded) << decoded.error().ToString();
  ASSERT_EQ(decoded->size(), index.size());
  for (size_t i = 0; i < index.size(); ++i) {
    EXPECT_EQ((*decoded)[i].path, index[i].path);
    EXPECT_EQ((*decoded)[i].whiteout, index[i].whiteout);
    EXPECT_EQ((*decoded)[i].opaque, index[i].opaque);
    EXPECT_EQ((*decoded)[i].implicit, index[i].implicit);
    if (index[i].whiteout) continue;
    EXPECT_EQ((*decoded)[i].node, index[i].node) << i;
  }
}

TEST(LayerIndex, DamageIsCorruptOrAnotherValue) {
  std::string encoded =
      EncodeLayerIndex({Implicit("usr"), Entry("usr/x", File("x")), Whiteout("usr/y"), Opaque("opt")});
  for (size_t size = 0; size < encoded.size(); ++size) {
    auto decoded = DecodeLayerIndex(encoded.substr(0, size));
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code, Code::kCorrupt);
  }
  std::mt19937 random(2);
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = encoded;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    if (auto decoded = DecodeLayerIndex(damaged)) {
      ASSERT_EQ(EncodeLayerIndex(*decoded), damaged);
    }
  }
}

TEST(LayerIndex, PathsThatAreNotNormalisedAreRefused) {
  std::string good = EncodeLayerIndex({Entry("abcd", File("x"))});
  ASSERT_TRUE(DecodeLayerIndex(good));
  for (std::string path : {std::string("/bcd"), std::string("a/.."), std::string("a//d"), std::string("a/./"),
                           std::string("../x"), std::string("a\0cd", 4)}) {
    std::string bad = good;
    bad.replace(bad.find("abcd"), 4, path);
    EXPECT_FALSE(DecodeLayerIndex(bad)) << path;
  }
}

TEST(ApplyLayer, AddsReplacesAndRemoves) {
  MemoryTreeStore store;
  Digest below =
      BuildTree(store, {{"etc/passwd", File("old")}, {"etc/group", File("group")}, {"tmp/junk/x", File("x")}});
  Digest root = Apply(store, below,
                      {Entry("etc", Dir()), Whiteout("etc/group"), Entry("etc/passwd", File("new")),
                       Whiteout("tmp/junk"), Entry("run", Dir(01777))});
  EXPECT_EQ(root, BuildTree(store, {{"etc/passwd", File("new")}, {"tmp", Dir()}, {"run", Dir(01777)}}));
}

TEST(ApplyLayer, OpaqueDirectoryHidesWhatIsBelowButNotWhatTheLayerAdds) {
  MemoryTreeStore store;
  Digest below = BuildTree(store, {{"d/old/x", File("x")}, {"d/y", File("y")}, {"e", File("e")}});
  Digest root = Apply(store, below, {Opaque("d", Dir(0700)), Entry("d/new", File("n"))});
  EXPECT_EQ(root, BuildTree(store, {{"d", Dir(0700)}, {"d/new", File("n")}, {"e", File("e")}}));
}

TEST(ApplyLayer, ImplicitParentKeepsTheAttributesBelow) {
  MemoryTreeStore store;
  Digest below = BuildTree(store, {{"home", Dir(0711)}, {"home/a", File("a")}, {"f", File("f")}});
  Digest root = Apply(store, below,
                      {Implicit("home"), Entry("home/b", File("b")), Implicit("new"), Entry("new/c", File("c")),
                       Implicit("f"), Entry("f/d", File("d"))});
  EXPECT_EQ(root, BuildTree(store, {{"home", Dir(0711)},
                                    {"home/a", File("a")},
                                    {"home/b", File("b")},
                                    {"new", Dir(0755)},
                                    {"new/c", File("c")},
                                    {"f", Dir(0755)},
                                    {"f/d", File("d")}}));
}

TEST(ApplyLayer, TypesReplaceEachOther) {
  MemoryTreeStore store;
  Digest below = BuildTree(store, {{"dir/x", File("x")}, {"file", File("f")}, {"link", Link("dir")}});
  Digest root =
      Apply(store, below,
            {Entry("dir", File("now file")), Entry("file", Dir()), Entry("file/y", File("y")), Entry("link", Dir())});
  EXPECT_EQ(root, BuildTree(store, {{"dir", File("now file")}, {"file/y", File("y")}, {"link", Dir()}}));
}

TEST(ApplyLayer, OpaqueRootStartsAfresh) {
  MemoryTreeStore store;
  Digest below = BuildTree(store, {{"a", File("a")}});
  EXPECT_EQ(Apply(store, below, {Opaque(""), Entry("b", File("b"))}), BuildTree(store, {{"b", File("b")}}));
}

TEST(LayerTree, IsTheTreeThatApplyLayerMakes) {
  MemoryTreeStore store;
  Digest base = BuildTree(
      store, {{"usr", Dir()}, {"usr/bin", Dir(0700)}, {"usr/bin/a", File("a")}, {"etc", File("not a directory")}});
  struct Step {
    LayerEntry entry;
    bool fresh;
  };
  std::vector<Step> steps = {{Entry("app", Dir(0711)), true},      {Entry("app/d", Dir()), true},
                             {Entry("app/d/deep", Dir()), true},   {Entry("app/d/deep/f", File("1")), false},
                             {Entry("app/d-1", File("2")), false}, {Entry("app/empty", Dir(01777)), true},
                             {Entry("top", Link("app")), false},   {Entry("usr", Dir()), false},
                             {Entry("usr/bin", Dir(0755)), false}, {Entry("usr/bin/a", File("new")), false},
                             {Entry("usr/lib", Dir()), true},      {Entry("usr/lib/l", File("3")), false}};
  LayerTree tree(store, base);
  LayerIndex index;
  for (const Step& step : steps) {
    index.push_back(step.entry);
    Status added = tree.Add(step.entry, step.fresh);
    ASSERT_TRUE(added) << added.error().ToString();
  }
  auto root = tree.Finish();
  ASSERT_TRUE(root) << root.error().ToString();
  EXPECT_EQ(*root, Apply(store, base, index));
  EXPECT_EQ((*Lookup(store, *root, RelPath("app/d/deep/f")))->digest, Digest::Of("1"));
}

TEST(LayerIndexReader, GivesTheEntriesOneByOneAndThenTheEnd) {
  std::string encoded = EncodeLayerIndex({Entry("a", File("x")), Whiteout("b"), Opaque("c")});
  auto reader = LayerIndexReader::Open(encoded);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->entries(), 3u);
  LayerEntry entry;
  for (const char* path : {"a", "b", "c"}) {
    auto more = reader->Next(&entry);
    ASSERT_TRUE(more && *more);
    EXPECT_EQ(entry.path.str(), path);
    EXPECT_EQ(entry.whiteout, entry.path.str() == "b");
  }
  EXPECT_FALSE(*reader->Next(&entry));
  EXPECT_FALSE(*reader->Next(&entry));
}

}  // namespace
}  // namespace varve::tree
