#include "engine/explain.h"

#include <gtest/gtest.h>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

class ExplainTest : public ::testing::Test {
 protected:
  KeyedStep Key(const graph::Exec& op, Digest chain = Digest::Of("chain")) {
    graph::Step step{.op = op, .inputs = {{0}}};
    return **ComputeKey(step, {{.chain = ChainId(chain)}}, trees, "");
  }
  static cache::StepRecord Record(const KeyedStep& keyed) {
    return {.key = keyed.key, .preimage = keyed.preimage, .inputs = keyed.inputs};
  }
  graph::Exec exec{.args = {"sh", "-c", "make"}, .env = {"PATH=/bin", "V=1"},
                   .mounts = {graph::Mount{.target = "/", .input = 0, .output = 0}}};
  tree::MemoryTreeStore trees;
};

TEST_F(ExplainTest, NoEarlierRecord) {
  EXPECT_EQ(Explain(Key(exec), {}, trees)[0].kind, Reason::Kind::kFirstTime);
}

TEST_F(ExplainTest, NamesTheCommand) {
  auto before = Record(Key(exec));
  exec.args[2] = "make all";
  EXPECT_EQ(Summarise(Explain(Key(exec), {before}, trees)),
            "command was \"make\", is \"make all\"");
}

TEST_F(ExplainTest, NamesTheVariable) {
  auto before = Record(Key(exec));
  exec.env = {"PATH=/bin", "V=2", "NEW=x"};
  auto reasons = Explain(Key(exec), {before}, trees);
  ASSERT_EQ(reasons.size(), 2u);
  EXPECT_EQ(reasons[0].text, "NEW is new: \"x\"");
  EXPECT_EQ(reasons[1].text, "V was \"1\", is \"2\"");
}

TEST_F(ExplainTest, NamesTheSetting) {
  auto before = Record(Key(exec));
  exec.user = "node";
  EXPECT_EQ(Summarise(Explain(Key(exec), {before}, trees)), "user was unset, is \"node\"");
}

TEST_F(ExplainTest, PicksTheNearestRecord) {
  auto near = Record(Key(exec));
  graph::Exec other = exec;
  other.user = "x";
  other.cwd = "/y";
  auto far = Record(Key(other));
  exec.args[2] = "make all";
  EXPECT_EQ(Explain(Key(exec), {far, near}, trees).size(), 1u);
}

TEST_F(ExplainTest, SameKeyMeansTheDataIsGone) {
  EXPECT_EQ(Explain(Key(exec), {Record(Key(exec))}, trees)[0].kind, Reason::Kind::kDataGone);
}

TEST_F(ExplainTest, AnUnreadableRecordIsSaid) {
  cache::StepRecord broken;
  broken.preimage = "{";
  EXPECT_EQ(Explain(Key(exec), {broken}, trees)[0].kind, Reason::Kind::kSchema);
}

TEST_F(ExplainTest, LongValuesAreCut) {
  auto before = Record(Key(exec));
  exec.env[1] = "V=" + std::string(1000, 'x');
  EXPECT_LT(Summarise(Explain(Key(exec), {before}, trees)).size(), 200u);
}

}  // namespace
}  // namespace varve::engine
