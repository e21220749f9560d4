#include "engine/explain.h"

#include <gtest/gtest.h>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

class ExplainTest : public ::testing::Test {
 protected:
  KeyedStep Key(const graph::Exec& op, Digest chain = Digest::Of("chain")) {
    return **ComputeKey(StepOf(op), {{.chain = ChainId(chain)}}, trees, "");
  }
  static graph::Step StepOf(const graph::Exec& op) { return {.op = op, .inputs = {{0}}}; }
  static cache::StepRecord Record(const KeyedStep& keyed) {
    return {.key = keyed.key, .preimage = keyed.preimage, .inputs = keyed.inputs};
  }
  std::vector<Reason> Why(const std::vector<cache::StepRecord>& earlier) {
    return Explain(StepOf(exec), Key(exec), earlier, trees).reasons;
  }
  graph::Exec exec{.args = {"sh", "-c", "make"},
                   .env = {"PATH=/bin", "V=1"},
                   .mounts = {graph::Mount{.target = "/", .input = 0, .output = 0}}};
  tree::MemoryTreeStore trees;
};

TEST_F(ExplainTest, NoEarlierRecord) { EXPECT_EQ(Why({})[0].kind, Reason::Kind::kFirstTime); }

TEST_F(ExplainTest, NamesTheCommand) {
  auto before = Record(Key(exec));
  exec.args[2] = "make all";
  EXPECT_EQ(Summarise(Why({before})), "command was \"make\", is \"make all\"");
}

TEST_F(ExplainTest, NamesTheVariable) {
  auto before = Record(Key(exec));
  exec.env = {"PATH=/bin", "V=2", "NEW=x"};
  auto reasons = Why({before});
  ASSERT_EQ(reasons.size(), 2u);
  EXPECT_EQ(reasons[0].text, "ENV NEW is new: \"x\"");
  EXPECT_EQ(reasons[1].text, "ENV V was \"1\", is \"2\"");
}

TEST_F(ExplainTest, NamesTheSetting) {
  auto before = Record(Key(exec));
  exec.user = "node";
  EXPECT_EQ(Summarise(Why({before})), "user was unset, is \"node\"");
}

TEST_F(ExplainTest, PicksTheNearestRecord) {
  auto near = Record(Key(exec));
  graph::Exec other = exec;
  other.user = "x";
  other.cwd = "/y";
  auto far = Record(Key(other));
  exec.args[2] = "make all";
  EXPECT_EQ(Why({far, near}).size(), 1u);
}

TEST_F(ExplainTest, ARecordOfTheSameKeyCameTooLate) {
  EXPECT_EQ(Why({Record(Key(exec))})[0].kind, Reason::Kind::kDataGone);
}

TEST_F(ExplainTest, AnUnreadableRecordIsSaid) {
  cache::StepRecord broken;
  broken.preimage = "{";
  EXPECT_EQ(Why({broken})[0].kind, Reason::Kind::kSchema);
}

TEST_F(ExplainTest, LongValuesAreCut) {
  auto before = Record(Key(exec));
  exec.env[1] = "V=" + std::string(1000, 'x');
  EXPECT_LT(Summarise(Why({before})).size(), 200u);
}

}  // namespace
}  // namespace varve::engine
