#include "tree/tree.h"

#include <gtest/gtest.h>

#include <random>

#include "tree/test_tree.h"

namespace varve::tree {
namespace {

Directory EveryType() {
  Directory directory;
  auto add = [&](std::string_view name, NodeType type) -> Node& {
    Node& node = directory.entries.emplace_back();
    node.name = name;
    node.type = type;
    return node;
  };
  Node& block = add("block", NodeType::kBlockDevice);
  block.mode = 0660;
  block.gid = 6;
  block.rdev = uint64_t{8} << 32 | 1;
  add("char", NodeType::kCharDevice).rdev = uint64_t{1} << 32 | 3;
  Node& dir = add("dir", NodeType::kDirectory);
  dir.mode = 01777;
  dir.digest = EmptyTree();
  add("fifo", NodeType::kFifo);
  Node& file = add("file", NodeType::kFile);
  file.mode = 04755;
  file.uid = 1000;
  file.gid = 4294967295;
  file.size = 5'000'000'000;
  file.digest = Digest::Of("content");
  file.xattrs = {{"security.capability", std::string("\1\0\0", 3)}, {"user.a", ""}};
  Node& link = add("link", NodeType::kSymlink);
  link.mode = 0777;
  link.target = "../\xff/x";
  add("socket", NodeType::kSocket);
  return directory;
}

TEST(TreeCodec, EveryTypeSurvives) {
  Directory directory = EveryType();
  auto decoded = Decode(Encode(directory));
  ASSERT_TRUE(decoded) << decoded.error().ToString();
  EXPECT_EQ(decoded->entries, directory.entries);
}

TEST(TreeCodec, DigestsArePinned) {
  // Every record and every key in every cache depends on these.
  EXPECT_EQ(EmptyTree().ToString(), "sha256:1776b0bec9b8ef2cff4f1866b51384eaa231aace132c226967ae018782c51d46");
  EXPECT_EQ(Digest::Of(Encode(EveryType())).ToString(),
            "sha256:45d1e9b2a916b3d347afe235b68e3f555ab6150d37429d03669f31136836f447");
}

TEST(TreeCodec, TruncatedOrExtendedIsCorrupt) {
  std::string object = Encode(EveryType());
  for (size_t size = 0; size < object.size(); ++size) {
    auto decoded = Decode(object.substr(0, size));
    ASSERT_FALSE(decoded) << size;
    EXPECT_EQ(decoded.error().code, Code::kCorrupt);
  }
  EXPECT_FALSE(Decode(object + '\0'));
}

TEST(TreeCodec, WhatDecodesHasOneSpelling) {
  // Random damage is either noticed or gives another value, never a second spelling of one.
  std::mt19937 random(1);
  std::string object = Encode(EveryType());
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = object;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    if (auto decoded = Decode(damaged)) {
      ++accepted;
      ASSERT_EQ(Encode(*decoded), damaged);
    }
  }
  EXPECT_GT(accepted, 0);
}

TEST(TreeCodec, NamesThatLeaveTheDirectoryAreRefused) {
  auto with_name = [](std::string_view name) {
    std::string object = "vt1\n\1";
    object += static_cast<char>(name.size());
    object += name;
    return object += std::string("\6\0\0\0\0", 5);  // a fifo
  };
  for (std::string_view name : {"", ".", "..", "a/b", "/"}) {
    EXPECT_FALSE(Decode(with_name(name))) << name;
  }
  EXPECT_FALSE(Decode(with_name(std::string_view("a\0b", 3))));
  EXPECT_TRUE(Decode(with_name("a.b")));
}

TEST(TreeCodec, EntriesOutOfOrderAreRefused) {
  std::string entry_a("\1a\6\0\0\0\0", 7), entry_b("\1b\6\0\0\0\0", 7);
  EXPECT_TRUE(Decode("vt1\n\2" + entry_a + entry_b));
  EXPECT_FALSE(Decode("vt1\n\2" + entry_b + entry_a));
  EXPECT_FALSE(Decode("vt1\n\2" + entry_a + entry_a));
}

TEST(Lookup, FindsNodesAndTellsAbsentFromMissingObjects) {
  MemoryTreeStore store;
  Digest root = BuildTree(store, {{"usr/bin/env", File("env", 0755)}, {"lib", Link("usr/lib")}});
  auto node = Lookup(store, root, RelPath("usr/bin/env"));
  ASSERT_TRUE(node && *node);
  EXPECT_EQ((*node)->mode, 0755u);
  EXPECT_EQ((*node)->name, "env");
  EXPECT_FALSE(*Lookup(store, root, RelPath("usr/bin/env/x")));
  EXPECT_FALSE(*Lookup(store, root, RelPath("usr/sbin")));
  EXPECT_FALSE(*Lookup(store, root, RelPath("lib/x")));
  EXPECT_EQ((*Lookup(store, root, RelPath("lib")))->type, NodeType::kSymlink);
  auto top = Lookup(store, root, RelPath());
  ASSERT_TRUE(top && *top);
  EXPECT_EQ((*top)->digest, root);
  EXPECT_EQ((*top)->mode, 0755u);

  MemoryTreeStore other;
  auto missing = Lookup(other, root, RelPath("usr"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kCorrupt);
  EXPECT_NE(missing.error().message.find(root.Hex()), std::string::npos);
}

TEST(ResolveLinks, StaysInsideAsInAChroot) {
  MemoryTreeStore store;
  Digest root = BuildTree(store, {{"a/b/file", File("x")},
                                  {"a/up", Link("../../../a/b")},
                                  {"abs", Link("/a/b")},
                                  {"chain", Link("abs")},
                                  {"loop", Link("loop")},
                                  {"dangling", Link("not/there")},
                                  {"a/rel", Link("./b/../b/file")}});
  auto resolve = [&](std::string_view path, bool last = true) {
    auto resolved = ResolveLinks(store, root, RelPath(path), last);
    return resolved ? resolved->str() : resolved.error().message;
  };
  EXPECT_EQ(resolve("a/b/file"), "a/b/file");
  EXPECT_EQ(resolve("a/up/file"), "a/b/file");
  EXPECT_EQ(resolve("chain/file"), "a/b/file");
  EXPECT_EQ(resolve("chain"), "a/b");
  EXPECT_EQ(resolve("chain", false), "chain");
  EXPECT_EQ(resolve("a/rel"), "a/b/file");
  EXPECT_EQ(resolve("dangling/x"), "not/there/x");
  EXPECT_EQ(resolve("none/a/b"), "none/a/b");
  EXPECT_EQ(resolve("a/b/file/x"), "a/b/file/x");
  EXPECT_EQ(resolve("loop", false), "loop");
  EXPECT_EQ(resolve("loop"), "cannot resolve /loop: too many levels of symbolic links");
}

TEST(TreeEditor, EditsGiveTheSameTreeAsBuildingItAtOnce) {
  MemoryTreeStore store;
  Digest wanted = BuildTree(store, {{"a/keep", File("k")}, {"a/new", File("n")}, {"b", Link("a")}});
  Digest start = BuildTree(store, {{"a/keep", File("k")}, {"a/old/x", File("o")}, {"b/c", File("")}});
  TreeEditor edit(store, start);
  EXPECT_TRUE(edit.Remove(RelPath("a/old")));
  EXPECT_TRUE(edit.Remove(RelPath("a/never/was")));
  EXPECT_TRUE(edit.Put(RelPath("a/new"), File("n")));
  EXPECT_TRUE(edit.Put(RelPath("b"), Link("a")));
  EXPECT_EQ(*edit.Commit(), wanted);
  // It goes on from there.
  EXPECT_TRUE(edit.Remove(RelPath("b")));
  EXPECT_TRUE(edit.Remove(RelPath("a/new")));
  EXPECT_EQ(*edit.Commit(), BuildTree(store, {{"a/keep", File("k")}}));
}

TEST(TreeEditor, DirectoryOverDirectoryKeepsChildren) {
  MemoryTreeStore store;
  Digest start = BuildTree(store, {{"d/x", File("x")}});
  TreeEditor edit(store, start);
  EXPECT_TRUE(edit.Put(RelPath("d"), Dir(0700)));
  EXPECT_EQ(*edit.Commit(), BuildTree(store, {{"d", Dir(0700)}, {"d/x", File("x")}}));
  EXPECT_TRUE(edit.Put(RelPath("d"), File("now a file")));
  EXPECT_TRUE(edit.Put(RelPath("d"), Dir()));
  EXPECT_EQ(*edit.Commit(), BuildTree(store, {{"d", Dir()}}));
}

TEST(TreeEditor, GraftsASubTreeByItsDigest) {
  MemoryTreeStore store;
  Digest part = BuildTree(store, {{"x/y", File("y")}});
  TreeEditor edit(store, EmptyTree());
  Node graft = Dir();
  graft.digest = part;
  EXPECT_TRUE(edit.Put(RelPath("in/here"), graft));
  EXPECT_EQ(*edit.Commit(), BuildTree(store, {{"in/here/x/y", File("y")}}));
}

TEST(TreeEditor, ParentThatIsAFileIsAnError) {
  MemoryTreeStore store;
  TreeEditor edit(store, BuildTree(store, {{"f", File("f")}}));
  auto put = edit.Put(RelPath("f/x"), File("x"));
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, Code::kInvalid);
  EXPECT_EQ(put.error().message, "cannot put /f/x: its parent \"f\" is not a directory");
  EXPECT_FALSE(edit.Put(RelPath(), File("x")));
  EXPECT_FALSE(edit.Remove(RelPath()));
}

TEST(TreeEditor, TooDeepPathsAreRefused) {
  MemoryTreeStore store;
  TreeEditor edit(store, EmptyTree());
  std::string deep;
  for (size_t i = 0; i < kMaxDepth; ++i) deep += "d/";
  EXPECT_FALSE(edit.Put(RelPath(deep + "f"), File("")));
  EXPECT_TRUE(edit.Put(RelPath(deep), File("")));
  EXPECT_TRUE(edit.Commit());
}

class CountingStore final : public TreeStore {
 public:
  Result<std::shared_ptr<const Directory>> Get(const Digest& digest) override {
    ++gets;
    return memory.Get(digest);
  }
  Status Put(const std::vector<std::pair<Digest, std::string>>& objects) override {
    puts += objects.size();
    ++batches;
    return memory.Put(objects);
  }
  MemoryTreeStore memory;
  size_t gets = 0, puts = 0, batches = 0;
};

TEST(TreeEditor, TouchesOnlyWhatItMust) {
  CountingStore store;
  std::map<std::string, Node> nodes;
  for (int d = 0; d < 100; ++d) {
    for (int f = 0; f < 10; ++f) nodes[fmt::format("d{}/sub/f{}", d, f)] = File("x");
  }
  Digest root = BuildTree(store, nodes);
  store.gets = store.puts = store.batches = 0;
  TreeEditor edit(store, root);
  EXPECT_TRUE(edit.Put(RelPath("d7/sub/f3"), File("changed")));
  EXPECT_NE(*edit.Commit(), root);
  EXPECT_EQ(store.gets, 3u);
  EXPECT_EQ(store.puts, 3u);
  EXPECT_EQ(store.batches, 1u);
  EXPECT_TRUE(edit.Lookup(RelPath("d9/sub/f1")));
  EXPECT_TRUE(edit.Commit());
  EXPECT_EQ(store.puts, 3u);
}

TEST(TreeEditor, TakesAHundredThousandFiles) {
  CountingStore store;
  TreeEditor edit(store, EmptyTree());
  Node node = File("x");
  for (int i = 0; i < 100000; ++i) {
    ASSERT_TRUE(edit.Put(RelPath(fmt::format("dir{}/sub{}/file{}", i % 10, i % 1000, i)), node));
  }
  ASSERT_TRUE(edit.Commit());
  EXPECT_EQ(store.puts, 1011u);
  EXPECT_EQ(store.gets, 0u);
}

}  // namespace
}  // namespace varve::tree
