#include "engine/keys.h"

#include <gtest/gtest.h>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

class KeysTest : public ::testing::Test {
 protected:
  Digest Tree(const std::map<std::string, std::string>& files) {
    tree::TreeEditor edit(trees, tree::EmptyTree());
    for (const auto& [path, text] : files) {
      EXPECT_TRUE(edit.Put(RelPath(path), FakeWorld::File(text)));
    }
    return *edit.Commit();
  }
  KeyedStep Key(const graph::Step& step, const std::vector<InputFact>& facts, const std::string& salt = "") {
    auto keyed = ComputeKey(step, facts, trees, salt);
    EXPECT_TRUE(keyed && *keyed);
    return **keyed;
  }
  tree::MemoryTreeStore trees;
  graph::Graph graph;
};

TEST_F(KeysTest, PreimageHashesToTheKey) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  KeyedStep keyed = Key(graph.steps[run], {{.chain = ChainId(Digest::Of("c"))}});
  EXPECT_EQ(keyed.key.value, Digest::Of(keyed.preimage));
}

// The text of a whole preimage. A change loses every user's cache: bump kKeySchema on purpose.
TEST_F(KeysTest, PreimageIsPinned) {
  graph::Step run = graph.steps[AddRun(graph, "make", AddImage(graph, "node"))];
  run.platform = oci::Platform{.os = "linux", .architecture = "amd64"};
  KeyedStep keyed = Key(run, {{.chain = ChainId(Digest::Of("c"))}});
  EXPECT_EQ(keyed.preimage, R"({"lineage":[{"from":{"image":"sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d2413)"
                            R"(94997265a1a25aefc6"},"input":0}],"op":{"args":["sh","-c","make"],"cwd":"/","env":[],)"
                            R"("mounts":[{"input":0,"output":0,"target":"/","type":"bind"}],"op":"exec"},)"
                            R"("platform":"linux/amd64","reads":[],"salt":"","schema":1})");
}

TEST_F(KeysTest, UnknownWhileAnInputIsUnknown) {
  auto copy = AddCopy(graph, "src", AddContext(graph), -1);
  auto keyed = ComputeKey(graph.steps[copy], {InputFact{}}, trees, "");
  ASSERT_TRUE(keyed);
  EXPECT_FALSE(*keyed);
}

TEST_F(KeysTest, LineageIsTheParentsKeyNotItsContent) {
  auto run = AddRun(graph, "make", AddImage(graph, "node"));
  InputFact parent{.key = StepKey(Digest::Of("k")), .tree_root = Tree({{"a", "1"}})};
  KeyedStep one = Key(graph.steps[run], {parent});
  parent.tree_root = Tree({{"a", "2"}});
  EXPECT_EQ(one.key, Key(graph.steps[run], {parent}).key);
  parent.key = StepKey(Digest::Of("other"));
  EXPECT_NE(one.key, Key(graph.steps[run], {parent}).key);
  parent.output = 1;
  EXPECT_NE(Key(graph.steps[run], {parent}).key, one.key);
}

TEST_F(KeysTest, ReadsAreContentNotTheParentsKey) {
  auto copy = AddCopy(graph, "src", AddContext(graph), -1);
  InputFact from{.key = StepKey(Digest::Of("k")), .tree_root = Tree({{"src/a", "1"}, {"b", "1"}})};
  KeyedStep one = Key(graph.steps[copy], {from});
  from.key = StepKey(Digest::Of("other"));
  from.tree_root = Tree({{"src/a", "1"}, {"b", "2"}});
  EXPECT_EQ(one.key, Key(graph.steps[copy], {from}).key);
  from.tree_root = Tree({{"src/a", "2"}, {"b", "1"}});
  EXPECT_NE(one.key, Key(graph.steps[copy], {from}).key);
}

TEST_F(KeysTest, AnImageThatIsReadIsNamedByItsChain) {
  auto copy = AddCopy(graph, "etc", AddImage(graph, "nginx"), -1);
  InputFact image{.chain = ChainId(Digest::Of("c"))};
  KeyedStep unpacked = Key(graph.steps[copy], {image});
  image.tree_root = Tree({{"etc/x", "1"}});
  EXPECT_EQ(unpacked.key, Key(graph.steps[copy], {image}).key);
}

TEST_F(KeysTest, SaltAndPlatformChangeEveryKey) {
  graph::Step run = graph.steps[AddRun(graph, "make", AddImage(graph, "node"))];
  std::vector<InputFact> facts = {{.chain = ChainId(Digest::Of("c"))}};
  KeyedStep plain = Key(run, facts);
  EXPECT_NE(plain.key, Key(run, facts, "salt").key);
  run.platform.architecture = "arm64";
  EXPECT_NE(plain.key, Key(run, facts).key);
}

}  // namespace
}  // namespace varve::engine
